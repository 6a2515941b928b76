"""Terms that are added to the outcome of a verdict, all off by default: length, format, repetition.

A term never makes a reward where the verdict gives none, and never changes the verdict. Each is kept in the record by
name beside the outcome, and the reward is their sum.
"""

import functools
import re
from dataclasses import replace
from typing import Any

from sparkcli.config import ShapingConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.method.thoughts import names_thoughts, reply_of
from sparkcli.records import Scored, token_count

_DEFAULT_BUFFER_SHARE = 5
"""The published buffer, 4,096 of 20,480 tokens, as a share of the limit."""
_FORMAT_SECONDS = 1.0


def shape(scored: Scored, config: ShapingConfig) -> Scored:
    """The record with the terms that are switched on, and their sum with the outcome as its reward.

    Raises:
        InputError: the length in tokens, or its limit, is not in the record.
        UsageError: the pattern is no regular expression.
    """
    if scored.reward is None or not (config.overlong_weight or config.format_weight or config.repetition_weight):
        return scored
    terms: dict[str, float] = {"outcome": scored.reward}
    if config.overlong_weight:
        terms["overlong"] = config.overlong_weight * _overlong_of(scored, config)
    if config.repetition_weight:
        terms["repetition"] = config.repetition_weight * repetition(scored.completion, config.repetition_ngram)
    if config.format_weight:
        pattern = config.format_pattern
        matches = _has_format(scored.completion if names_thoughts(pattern) else reply_of(scored), pattern)
        if matches is None:
            reason = f"{scored.verdict.reason}; no answer from the format pattern within {_FORMAT_SECONDS:g} s"
            return replace(scored, reward=None, verdict=replace(scored.verdict, reason=reason))
        terms["format"] = config.format_weight * matches
    return replace(scored, reward=sum(terms.values()), terms=terms)


def overlong(length: int, limit: int, buffer: int) -> float:
    """Soft overlong punishment, -1 to 0 (DAPO, arXiv 2503.14476, equation 13); lengths in tokens.

    Nothing up to `limit - buffer`, then linearly to -1 at `limit` and beyond.

    >>> [overlong(length, limit=100, buffer=20) for length in (80, 90, 100, 120)]
    [0.0, -0.5, -1.0, -1.0]
    """
    over = length - (limit - buffer)
    if over <= 0:
        return 0.0
    return -min(1.0, over / buffer) if buffer else -1.0


def repetition(text: str, n: int) -> float:
    """Minus the share of the n-grams of words that were there before, -1 to 0 (arXiv 2502.03373, appendix C.2).

    >>> repetition("so it is so it is", 3), repetition("it is not so", 3)
    (-0.25, 0.0)
    """
    words = text.split()
    total = len(words) - n + 1
    return len({tuple(words[i:i + n]) for i in range(total)}) / total - 1.0 if total > 0 else 0.0


def _overlong_of(scored: Scored, config: ShapingConfig) -> float:
    where = f"rollout {scored.id!r} sample {scored.sample}"
    length = token_count(scored)
    if length is None:
        raise InputError(f"{where}: token_ids: expected for the length penalty, missing; leave out --overlong-weight")
    limit = config.overlong_limit or (scored.sampling.max_tokens if scored.sampling else None)
    if limit is None:
        raise InputError(f"{where}: sampling.max_tokens: expected for the length penalty, missing; "
                         f"or give --overlong-limit")
    buffer = limit // _DEFAULT_BUFFER_SHARE if config.overlong_buffer is None else config.overlong_buffer
    return overlong(length, limit, min(buffer, limit))


def _has_format(completion: str, pattern: str) -> bool | None:
    """Whether the pattern is found; None where it takes too long to tell."""
    try:
        return _compiled(pattern).search(completion, timeout=_FORMAT_SECONDS) is not None
    except TimeoutError:
        return None


@functools.cache
def _compiled(pattern: str) -> Any:
    import regex  # the one that keeps time

    try:
        return regex.compile(pattern, re.DOTALL)
    except regex.error as error:
        raise UsageError(f"--format-pattern: not a regular expression: {error}") from None
