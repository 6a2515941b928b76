"""Samples in this process with transformers: causal language models, with images or without, on CPU or GPU.

At most `batch_size` rows are in flight and `batch_tokens` held, counting each prompt once and each completion at its
limit. Rows that end make room for others within a window of some batches, whose prompts are sorted by length, so that
little is padded; groups come out in the order they came in, a window at a time. Of a window's images only some are held
as pixels; the others are read again when it is their prompt's turn.

Not done here: encoders with a decoder.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import transformers
from torch import Tensor

from sparkcli.config import RolloutConfig
from sparkcli.engines.base import window
from sparkcli.engines.groups import failed, how, sampled
from sparkcli.engines.seeds import stream_key
from sparkcli.engines.transformers.rows import Group, Row, Rules
from sparkcli.engines.transformers.sampler import Sampler
from sparkcli.errors import InputError
from sparkcli.models.pictures import Pictures
from sparkcli.models.policy import Policy, load_into
from sparkcli.models.sight import Placed, patches
from sparkcli.records import Prompt, Rollout, Sampling


@dataclass(frozen=True)
class _Waiting:
    prompt: Prompt
    placed: Placed
    """Without pixels."""
    patches: int
    pictures: Pictures

    def pixels(self) -> Mapping[str, Tensor]:
        """Those of its images, from memory or made again."""
        return self.pictures.placed(self.prompt).pixels if self.patches else {}


class TransformersEngine:
    """An `Engine` around a policy in memory, which a trainer may hold as well."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._sampler = Sampler(policy.network)

    def sample(self, prompts: Iterable[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        """One group per prompt, in order. The policy must not change while groups are being taken."""
        stream = iter(prompts)
        while taken := list(islice(stream, window(config))):
            yield from self._sample_window(taken, config)

    def load_policy(self, directory: Path | None) -> None:
        """From now on samples the policy in `directory`; None is the bare model."""
        load_into(self.policy, directory)

    def rest(self) -> None:
        """Holds nothing between two calls of `sample`."""

    def close(self) -> None:
        """Lets go of the policy; a trainer that holds it keeps it."""
        del self.policy

    def _sample_window(self, prompts: Sequence[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        waiting: dict[int, _Waiting] = {}
        errors: dict[int, InputError] = {}
        pictures = Pictures(self.policy)
        for index, prompt in enumerate(prompts):
            try:
                waiting[index] = self._read(prompt, pictures, config)
            except InputError as error:
                errors[index] = error
        decoded = self._decode(waiting, config)
        sampling = how(config, f"transformers/{transformers.__version__}")
        for index, prompt in enumerate(prompts):
            if index in errors:
                yield failed(prompt, sampling, self.policy.fingerprint, str(errors[index]))
            else:
                yield self._group(waiting[index], decoded[index], sampling)

    def _read(self, prompt: Prompt, pictures: Pictures, config: RolloutConfig) -> _Waiting:
        placed = pictures.placed(prompt, config.max_prompt_tokens)
        return _Waiting(prompt, replace(placed, pixels={}), patches(self.policy.network, placed.pixels), pictures)

    def _decode(self, waiting: dict[int, _Waiting], config: RolloutConfig) -> dict[int, list[Row]]:
        """Every sample of every prompt; longer prompts first, so that neighbours are of similar lengths."""
        rules = Rules(config.temperature, config.top_k, config.top_p, frozenset(self.policy.reader.stop_ids))
        groups = {index: self._rows(item, config) for index, item in waiting.items()}
        ordered = sorted(groups.values(), key=lambda group: -len(group.token_ids))
        self.policy.model.eval()
        self._sampler.complete(self.policy.network, ordered, rules, config.batch_size, config.batch_tokens)
        return {index: list(group.rows) for index, group in groups.items()}

    def _rows(self, item: _Waiting, config: RolloutConfig) -> Group:
        limit = self.policy.reader.room(len(item.placed.token_ids), config.max_tokens)
        rows = [Row(stream_key(config.seed, item.prompt.id, sample), limit) for sample in range(config.samples)]
        return Group(item.placed, rows, item.patches, item.pixels)

    def _group(self, item: _Waiting, rows: Sequence[Row], sampling: Sampling) -> list[Rollout]:
        if error := next((row.error for row in rows if row.error), None):
            return failed(item.prompt, sampling, self.policy.fingerprint, str(error))
        texts = self.policy.reader.texts(row.token_ids for row in rows)
        return sampled(item.prompt, item.placed.token_ids, [
            (text, row.token_ids, row.logprobs, "stop" if row.stopped else "length")
            for text, row in zip(texts, rows, strict=True)], sampling, self.policy.fingerprint,
            in_thought=self.policy.reader.opens_thought(item.placed.token_ids))
