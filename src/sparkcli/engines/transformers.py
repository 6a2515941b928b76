"""Samples in this process with transformers: any causal language model, on CPU or GPU.

Rows run in batches of `batch_size`; within a window of some batches prompts are sorted by length, so that little is
padded, and groups come out in the order they came in.

Not done here: images, batches that rows join while others run, halving on out-of-memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import transformers

from sparkcli.config import RolloutConfig
from sparkcli.engines.base import window
from sparkcli.engines.decoding import Decoded, Request, Rules, decode
from sparkcli.engines.groups import failed, how, sampled
from sparkcli.engines.seeds import stream_key
from sparkcli.errors import InputError
from sparkcli.models.policy import Policy, load_into
from sparkcli.models.prompts import encode
from sparkcli.records import Prompt, Rollout, Sampling


@dataclass(frozen=True)
class _Waiting:
    prompt: Prompt
    token_ids: list[int]


class TransformersEngine:
    """An `Engine` around a policy in memory, which a trainer may hold as well."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

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
        for index, prompt in enumerate(prompts):
            try:
                waiting[index] = _Waiting(prompt, self._encode(prompt, config))
            except InputError as error:
                errors[index] = error
        decoded = self._decode(waiting, config)
        sampling = how(config, f"transformers/{transformers.__version__}")
        for index, prompt in enumerate(prompts):
            if index in errors:
                yield failed(prompt, sampling, self.policy.fingerprint, str(errors[index]))
            else:
                yield self._group(waiting[index], decoded[index], sampling)

    def _encode(self, prompt: Prompt, config: RolloutConfig) -> list[int]:
        encoded = encode(prompt, self.policy.reader, config.max_prompt_tokens)
        if encoded.pixels:
            raise InputError(f"prompt {prompt.id!r}: the transformers engine samples prompts without images only")
        return encoded.token_ids

    def _decode(self, waiting: dict[int, _Waiting], config: RolloutConfig) -> dict[int, list[Decoded]]:
        """Every sample of every prompt, in batches of rows sorted by prompt length."""
        rules = Rules(config.temperature, config.top_k, config.top_p, self.policy.reader.stop_ids)
        order = sorted(waiting, key=lambda index: -len(waiting[index].token_ids))
        rows = [(index, sample) for index in order for sample in range(config.samples)]
        whole_groups = config.batch_size // config.samples * config.samples
        size = whole_groups or config.batch_size
        decoded: dict[int, list[Decoded]] = {index: [] for index in waiting}
        self.policy.model.eval()
        for start in range(0, len(rows), size):
            samples: dict[int, list[int]] = {}
            for index, sample in rows[start:start + size]:
                samples.setdefault(index, []).append(sample)
            requests = [self._request(waiting[index], numbers, config) for index, numbers in samples.items()]
            results = iter(decode(self.policy.network, requests, rules))
            for index, numbers in samples.items():
                decoded[index].extend(islice(results, len(numbers)))
        return decoded

    def _request(self, item: _Waiting, samples: Sequence[int], config: RolloutConfig) -> Request:
        keys = [stream_key(config.seed, item.prompt.id, sample) for sample in samples]
        return Request(item.token_ids, keys, self.policy.reader.room(len(item.token_ids), config.max_tokens))

    def _group(self, item: _Waiting, decoded: Sequence[Decoded], sampling: Sampling) -> list[Rollout]:
        texts = self.policy.reader.texts(d.token_ids for d in decoded)
        return sampled(item.prompt, item.token_ids, [
            (text, d.token_ids, d.logprobs, "stop" if d.stopped else "length")
            for text, d in zip(texts, decoded, strict=True)], sampling, self.policy.fingerprint)
