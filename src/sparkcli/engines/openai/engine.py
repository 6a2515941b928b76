"""Samples at OpenAI-compatible servers, one or several.

Against vLLM servers token ids go both ways, log-probs are recorded, and policies can be loaded at run time; any other
server gives text alone, which is trained on only once it has been scored. All talk is done by one loop in a thread of
its own; prompts are read as places come free, and groups come out in the order of the prompts.

Not done here: a limit of prompt tokens at servers that are no vLLM servers, which know their own.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp

from sparkcli.config import ModelConfig, RolloutConfig, ServerConfig
from sparkcli.engines.groups import Sample, failed, how, sampled
from sparkcli.engines.openai.background import Background
from sparkcli.engines.openai.connection import (
    AbsentError,
    Connection,
    RefusedError,
    TroubleError,
    UnansweredError,
    new_session,
    read_key,
)
from sparkcli.engines.openai.dialects import Chat, Dialect, Question, Tokens, is_plain
from sparkcli.engines.openai.greeting import Facts, greet
from sparkcli.engines.openai.policies import (
    Held,
    check_model,
    check_pixels,
    check_reach,
    held_in,
    leave,
    load,
    target_of,
    unload_others,
)
from sparkcli.engines.openai.servers import Pool, Server, backoff
from sparkcli.engines.seeds import prompt_seed
from sparkcli.errors import InputError, SparkError, UsageError
from sparkcli.models.fingerprint import check_policy, model_fingerprint
from sparkcli.models.locate import model_folder
from sparkcli.models.network import load_architecture
from sparkcli.models.reader import load_reader
from sparkcli.records import Prompt, Rollout, Sampling

log = logging.getLogger(__name__)

AHEAD = 3
"""Prompts taken in, as a multiple of those in flight: so many wait behind a slow one before a place stays empty."""


@dataclass(frozen=True)
class _Asked:
    prompt: Prompt
    question: Question
    samples: "Future[list[Sample]]"


class OpenAIEngine:
    """An `Engine` whose network runs elsewhere."""

    policy: str
    """Of what is sampled: a fingerprint, or `openai:NAME` where the server does not tell tokens."""

    def __init__(self, model: ModelConfig, server: ServerConfig) -> None:
        """Asks every server what it is, and has it hold the policy.

        Raises:
            UsageError: a server does not serve the model, or not the policy, or does not take the key.
            SparkError: no server answers.
        """
        self._model, self._config = model, server
        self._held: Held | None = None
        self._dialect: Dialect | None = None
        self._base: str | None = None
        self._folder: Path | None = None
        self._has_warned = False
        self._session: aiohttp.ClientSession | None = None
        self._servers: list[Server] = []
        self._background = Background()
        try:
            self._pool = self._background.run(self._connect())
            self._choose_dialect()
            self.load_policy(Path(model.policy) if model.policy else self._served_adapter())
        except BaseException:
            self.close()
            raise

    def sample(self, prompts: Iterable[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        """One group per prompt, in order; requests are cancelled when the iterator is dropped.

        Raises:
            SparkError: no server has answered for as long as the settings' patience.
        """
        self._warn_of_raw_logprobs(config)
        if self._config.sync_adapters and self._held and self._held.directory and not self._held.adapter:
            self._background.run(self._hold_everywhere())  # a server may have started anew, with its own weights
        sampling = how(config, f"openai/{self._facts.engine}")
        room = AHEAD * self._config.concurrency * len(self._servers)
        waiting: deque[_Asked] = deque()
        try:
            for prompt in prompts:
                waiting.append(self._ask(prompt, config))
                while waiting and (len(waiting) >= room or waiting[0].samples.done()):
                    group = self._group(waiting[0], sampling)
                    waiting.popleft()
                    yield group
            while waiting:
                group = self._group(waiting[0], sampling)
                waiting.popleft()
                yield group
        finally:
            for asked in waiting:
                asked.samples.cancel()

    def load_policy(self, directory: Path | None) -> None:
        """From now on samples the policy in `directory`; None is the bare model."""
        if self._base is None:
            if directory is not None or self._config.sync_adapters:
                raise UsageError(f"{self._first.name}: is no vLLM server, and policies are sampled at those; leave "
                                 "--policy and --sync-adapters out")
            self.policy = f"openai:{self._facts.served.id}"
            return
        if directory is not None:
            check_policy(directory, self._base)
        self._held = held_in(directory, self._base) if directory else Held(self._base)
        self._background.run(self._hold_everywhere())
        self.policy = self._held.fingerprint

    def rest(self) -> None:
        """Holds no memory of a device here."""

    def close(self) -> None:
        """Cancels what is asked and closes the connections."""
        self._background.close(self._disconnect)

    # Opening

    async def _connect(self) -> Pool:
        """The servers, each asked what it is; those that do not answer are asked again later."""
        key = read_key(self._config)
        self._session = new_session()
        self._servers = [Server(Connection(url, self._session, self._config, key)) for url in self._config.base_url]
        servers, pool = self._servers, Pool(self._servers, self._config, self._admit)
        outcomes = await asyncio.gather(*map(self._admit_at_last, servers), return_exceptions=True)
        troubles = [(server, error) for server, error in zip(servers, outcomes, strict=True) if error is not None]
        for _, error in troubles:
            if not isinstance(error, TroubleError):
                raise error
        if len(troubles) == len(servers):
            told = "; ".join(f"{server.name}: {error}" for server, error in troubles)
            raise SparkError(f"no server answers: {told}; `sparkcli serve` starts one")
        for server, error in troubles:
            pool.blame(server, TroubleError(str(error), suspect=True))
        return pool

    async def _disconnect(self) -> None:
        if self._session is None:
            return
        await asyncio.gather(*map(leave, self._servers))
        await self._session.close()

    async def _admit_at_last(self, server: Server) -> None:
        """Bears with a server that is there and in trouble as long as with a prompt."""
        for attempt in range(1, self._config.retries + 1):
            try:
                return await self._admit(server)
            except AbsentError:
                raise
            except TroubleError as trouble:
                await asyncio.sleep(min(trouble.wait or backoff(attempt), self._config.timeout))
        return await self._admit(server)

    async def _admit(self, server: Server) -> None:
        """Asks a server who it is and, once it is known what is to be sampled, has it ready for that."""
        server.facts = await greet(server.connection, self._config.served_name, self._model.name, self._config.timeout)
        server.target = server.facts.served.id
        if self._dialect is not None:
            await self._check_kind(server)
        if self._held is not None:
            await self._hold(server)

    @property
    def _first(self) -> Server:
        return next(server for server in self._servers if server.facts is not None)

    @property
    def _facts(self) -> Facts:
        """Of the first server that has answered; the others are alike."""
        assert self._first.facts is not None
        return self._first.facts

    def _choose_dialect(self) -> None:
        """Token ids where all servers take them. Then the model must be here as well, but for its weights' use."""
        if not self._facts.takes_tokens:
            self._dialect = Chat(self._model)
        else:
            folder = self._folder = model_folder(self._model.name)
            reader = load_reader(folder, self._model)
            architecture = load_architecture(folder, self._model).get_text_config()
            lengths = [self._facts.base.max_model_len, reader.context]
            context = min((length for length in lengths if length is not None), default=None)
            self._base = model_fingerprint(folder)
            vocabulary = max(architecture.vocab_size, len(reader.tokenizer))
            self._dialect = Tokens(replace(reader, context=context), vocabulary)
        for server in self._servers:
            if server.facts is not None:
                self._background.run(self._check_kind(server))

    async def _check_kind(self, server: Server) -> None:
        """Raises UsageError unless a server is of the kind of the others and serves the model that -m names."""
        assert server.facts is not None
        if server.facts.takes_tokens != (self._base is not None):
            raise UsageError(f"{server.name}: vLLM servers and others cannot share the work; give servers of one kind")
        if isinstance(self._dialect, Tokens) and self._base is not None:
            policy = Path(self._model.policy) if self._model.policy else None
            await check_model(server, self._dialect.reader, self._base, policy)
            if server.reads_images and self._folder is not None:
                await check_pixels(server, self._folder)

    def _served_adapter(self) -> Path | None:
        """The folder of the adapter that --served-name names, where that is one."""
        served = self._facts.served
        if served.parent is None or self._base is None:
            return None
        if served.root is None or not Path(served.root).is_dir():
            raise UsageError(f"--served-name {served.id}: is an adapter, from a folder that is not here; give its "
                             "copy here as --policy")
        return Path(served.root)

    # Policies

    async def _hold_everywhere(self) -> None:
        servers = [server for server in self._servers if server.is_up]
        outcomes = await asyncio.gather(*map(self._hold_afresh, servers), return_exceptions=True)
        for server, error in zip(servers, outcomes, strict=True):
            if isinstance(error, TroubleError):
                self._pool.blame(server, TroubleError(str(error), suspect=True))
            elif error is not None:
                raise error
        await asyncio.gather(*map(unload_others, servers))

    async def _hold_afresh(self, server: Server) -> None:
        if self._config.sync_adapters:
            await self._hold(server)
        else:  # what others have loaded there since
            await self._admit(server)

    async def _hold(self, server: Server) -> None:
        assert self._held is not None
        if self._folder is not None:
            await check_reach(server, self._held, self._folder)
        if self._config.sync_adapters:
            await load(server, self._held)
        else:
            server.target = target_of(server, self._held, self._config.served_name)

    # Asking

    def _ask(self, prompt: Prompt, config: RolloutConfig) -> _Asked:
        assert self._dialect is not None
        try:
            question = self._dialect.question(prompt, config)
        except InputError as error:
            refused: Future[list[Sample]] = Future()
            refused.set_exception(error)
            return _Asked(prompt, Question({}), refused)
        seed = prompt_seed(config.seed, prompt.id)
        return _Asked(prompt, question, self._background.start(self._answer(question, seed, config)))

    async def _answer(self, question: Question, seed: int, config: RolloutConfig) -> list[Sample]:
        """All samples of a prompt. What a server leaves out is asked for again; greedy ones are all alike."""
        samples: list[Sample] = []
        is_greedy = config.temperature == 0
        wanted = 1 if is_greedy else config.samples
        while (first := len(samples)) < wanted:
            asked = partial(self._reply, question, wanted - first, None if is_greedy else seed + first)
            samples += await self._pool.ask(asked)
        return samples * config.samples if is_greedy else samples

    async def _reply(self, question: Question, number: int, seed: int | None, server: Server) -> list[Sample]:
        assert self._dialect is not None and server.facts is not None
        body = self._dialect.request(question, server.target, number, seed)
        try:
            reply = await server.connection.read(question.path, body)
        except RefusedError as error:
            if self._dialect.learns(error, body):
                return await self._reply(question, number, seed, server)
            if error.status == 404 and self._config.sync_adapters and server.target != server.facts.base.id:
                raise TroubleError(f"{error}; was it started anew?", suspect=True) from None
            raise UnansweredError(f"{server.name}: {error}") from None
        samples = self._dialect.samples(reply, question, is_exact=server.facts.is_exact)
        if len(samples) > number:
            raise TroubleError(f"{len(samples)} choices, and {number} were asked for")
        return samples

    def _group(self, asked: _Asked, sampling: Sampling) -> list[Rollout]:
        assert self._dialect is not None
        try:
            samples = self._dialect.worded(asked.samples.result())
        except InputError as error:
            return failed(asked.prompt, sampling, self.policy, str(error))
        except UnansweredError as error:
            return failed(asked.prompt, sampling, self.policy, f"prompt {asked.prompt.id!r}: {error}")
        return sampled(asked.prompt, asked.question.prompt_token_ids, samples, sampling, self.policy,
                       in_thought=asked.question.in_thought)

    def _warn_of_raw_logprobs(self, config: RolloutConfig) -> None:
        raw = [server.name for server in self._servers if server.facts and not server.facts.is_exact]
        if self._base is None or not raw or self._has_warned or is_plain(config):
            return
        self._has_warned = True
        log.warning("%s gives log-probs before temperature, top-p and top-k, which are not recorded; to train, start "
                    "it with `sparkcli serve`, or with --logprobs-mode processed_logprobs", ", ".join(raw))
