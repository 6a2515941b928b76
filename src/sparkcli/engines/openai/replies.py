"""What is in a server's reply, each part checked: what is not as it should be is `TroubleError`, and asked again."""

import math
from collections.abc import Mapping
from typing import Any

from sparkcli.engines.openai.connection import TroubleError, UnansweredError
from sparkcli.records import FinishReason

REASONS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}
ROUNDING = 1e-3
"""A log-probability may be this far above 0, since samplers round."""


def choices_in(reply: Any) -> list[Mapping[str, Any]]:
    """The completions of a reply."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise TroubleError("a reply without choices")
    return choices


def reason_in(choice: Mapping[str, Any]) -> FinishReason:
    """Why a completion ended."""
    told = choice.get("finish_reason")
    if isinstance(told, str) and told in REASONS:
        return REASONS[told]
    if told in ("content_filter", "tool_calls", "function_call"):
        raise UnansweredError(f"the server ended a completion by {told}")
    raise TroubleError(f"a completion that ended by {told!r}")


def content_in(choice: Mapping[str, Any]) -> str:
    """The text of a chat's completion."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if content is None and reason_in(choice) == "length":  # the whole limit went into reasoning that is not shown
        return ""
    if not isinstance(content, str):
        raise TroubleError("a choice without a message")
    return content


def logprobs_in(choice: Mapping[str, Any], tokens: int) -> list[float]:
    """Of each emitted token, as `/v1/completions` or `/v1/chat/completions` tells them."""
    told = choice.get("logprobs")
    logprobs = _values(told) if isinstance(told, dict) else None
    if not isinstance(logprobs, list) or len(logprobs) != tokens:
        found = len(logprobs) if isinstance(logprobs, list) else "no"
        raise TroubleError(f"{found} log-probs for {tokens} tokens")
    if not all(isinstance(value, float | int) and math.isfinite(value) and value <= ROUNDING for value in logprobs):
        raise TroubleError("log-probs that are none")
    return logprobs


def _values(told: Mapping[str, Any]) -> Any:
    content = told.get("content")
    if not isinstance(content, list):
        return told.get("token_logprobs")
    return [token.get("logprob") if isinstance(token, dict) else None for token in content]


def ids_in(choice: Mapping[str, Any], most: int, vocabulary: int) -> list[int]:
    """The tokens that were emitted: `most` at most, each of the vocabulary."""
    ids = choice.get("token_ids")
    if not isinstance(ids, list) or not ids or not all(type(i) is int for i in ids):
        raise TroubleError("a reply without token ids")
    if min(ids) < 0 or max(ids) >= vocabulary:
        raise TroubleError(f"token ids beyond the vocabulary's {vocabulary}")
    if len(ids) > most:
        raise TroubleError(f"{len(ids)} tokens, more than max_tokens ({most})")
    return ids
