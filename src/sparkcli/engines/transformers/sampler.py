"""Two ways to sample a network, each prompt by the fastest that is right for it.

`decode` holds a prompt once for all its samples, and is right for plain attention to all tokens. `generate` is
transformers' own, slower, and right for every architecture whose steps with a cache give what its forward pass gives.
Which are right for a network is found out by trying them on a few tokens.
"""

import itertools
import logging
from collections.abc import Callable, Sequence
from functools import partial

import torch
from transformers import PreTrainedModel

from sparkcli.engines.transformers.attention import longest_shared
from sparkcli.engines.transformers.budget import Budget, room_within
from sparkcli.engines.transformers.cache import Room
from sparkcli.engines.transformers.decoding import decode
from sparkcli.engines.transformers.generation import generate, keeps_all_tokens
from sparkcli.engines.transformers.rows import Group, Row, Rules
from sparkcli.errors import UsageError
from sparkcli.models.agreement import are_close, own_logprobs, probe
from sparkcli.models.memory import is_out_of_memory

log = logging.getLogger(__name__)

Way = Callable[[PreTrainedModel, Sequence[Group], Rules, Room], None]

PROBE_TOKENS = 4
"""Of the completions that are sampled to compare."""


class Sampler:
    """Completes rows of one network, within what memory there is.

    Raises:
        UsageError: neither way gives what the network's own forward pass does.
        SparkError: the network computes no numbers.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        self._budget = Budget()
        self._generate: Way | None = None
        self._longest_shared, why = _longest_shared(network)
        if not self._longest_shared:
            self._begin_to_generate(network, why)

    def complete(self, network: PreTrainedModel, groups: Sequence[Group], rules: Rules, rows: int, tokens: int) -> None:
        """Completes every row of every group.

        Args:
            network: the one that was tried, or one of the same architecture.
            groups: prompts of similar lengths should be neighbours.
            rules: how to draw.
            rows: in flight at most.
            tokens: held at most.

        Raises:
            SparkError: a single row does not fit in memory.
        """
        sharing = [group for group in groups if group.tokens <= self._longest_shared]
        others = [group for group in groups if group.tokens > self._longest_shared]
        self._budget.spend(sharing, rows, tokens, lambda pending, room: decode(network, pending, rules, room))
        if others:
            generate = self._generate or self._begin_to_generate(
                network, f"prompts with completions of more than {self._longest_shared} tokens do not fit its "
                         "attention's window")
            self._budget.spend(others, rows, tokens, lambda pending, room: generate(network, pending, rules, room),
                               shared=False)

    def _begin_to_generate(self, network: PreTrainedModel, why: str) -> Way:
        name, padded, even = network.config.model_type, partial(generate, pads=True), partial(generate, pads=False)
        if keeps_all_tokens(network) and not _what_is_wrong(network, padded):
            self._generate = padded
        elif reason := _what_is_wrong(network, even):
            raise UsageError(f"{name}: cannot be sampled exactly: {why}, and by transformers' `generate` {reason}; try "
                             "--engine vllm, or another model")
        else:
            self._generate = even
        log.warning("%s: %s, so transformers' own `generate` samples it, which is slower; where vLLM knows the model, "
                    "--engine vllm is faster", name, why)
        return self._generate


def _longest_shared(network: PreTrainedModel) -> tuple[float, str]:
    """Up to how many tokens, prompt and completion together, `decode` is right for the network; if 0, why."""
    try:
        longest = longest_shared(network)
    except UsageError as error:
        return 0, str(error)
    if longest < max(group.tokens for group in _probe(network)):
        return 0, f"its attention's window is {longest} tokens"
    reason = _what_is_wrong(network, decode)
    return (0, f"with prompts shared {reason}") if reason else (longest, "")


def _what_is_wrong(network: PreTrainedModel, way: Way) -> str | None:
    """How what a way samples differs from the network's own forward pass; None where it does not."""
    groups = _probe(network)
    try:
        way(network, groups, Rules(1.0, 0, 1.0, frozenset()), room_within(groups, 4, 1 << 20, shared=way is decode))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"it fails ({' '.join(str(error).split())[:120]})"
    found_K = torch.tensor([logprob for group in groups for row in group.rows for logprob in row.logprobs],
                           device=network.device)
    expected_K = own_logprobs(network, [group.prompt for group in groups],
                              [[row.token_ids for row in group.rows] for group in groups])
    if are_close(network, found_K, expected_K):
        return None
    return f"log-probs differ from its forward pass by {(found_K - expected_K).abs().max():.1g}"


def _probe(network: PreTrainedModel) -> list[Group]:
    """Two prompts with two rows each, of which one is shorter."""
    keys = itertools.count()
    return [Group(prompt, [Row(next(keys), PROBE_TOKENS), Row(next(keys), PROBE_TOKENS - 2)])
            for prompt in probe(network)[0]]
