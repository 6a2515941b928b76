"""How a prompt is put to a server and its reply read: as token ids to a vLLM server, as chat messages to any other.

A reply is checked before it counts: what is not as it was asked for is `TroubleError`, and asked again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparkcli.config import SamplingConfig
from sparkcli.engines.groups import Sample
from sparkcli.engines.openai.connection import RefusedError, TroubleError, UnansweredError
from sparkcli.errors import InputError
from sparkcli.models.prompts import encode
from sparkcli.models.reader import Reader
from sparkcli.records import FinishReason, Prompt

REASONS: Mapping[str, FinishReason] = {"stop": "stop", "length": "length"}
LONGER_LIMIT = "max_completion_tokens"
ROUNDING = 1e-3
"""A log-probability may be this far above 0, since samplers round."""


@dataclass(frozen=True)
class Question:
    """A request for completions of one prompt, but for the model's name, their number and seed."""

    body: Mapping[str, Any]
    prompt_token_ids: Sequence[int] | None = None
    is_plain: bool = False
    """See `is_plain`."""


class Dialect(Protocol):
    """One way to ask."""

    path: str
    """Below the base URL."""

    def question(self, prompt: Prompt, config: SamplingConfig) -> Question:
        """What is asked for a prompt. Raises InputError when it cannot be asked."""
        ...

    def request(self, question: Question, model: str, number: int, seed: int | None) -> dict[str, Any]:
        """The body that asks for so many samples; with a seed, sample k of them has the seed + k."""
        ...

    def learns(self, refusal: RefusedError, body: Mapping[str, Any]) -> bool:
        """Whether the refusal of a request says how to ask otherwise, which is done from now on."""
        ...

    def samples(self, reply: Any, question: Question, *, is_exact: bool) -> list[Sample]:
        """The completions in a reply.

        Args:
            reply: decoded JSON.
            question: what was asked.
            is_exact: whether the server's log-probs are those of the sampling distribution.

        Raises:
            TroubleError: the reply is not what was asked for.
            UnansweredError: the server will not complete this prompt.
        """
        ...

    def worded(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples with their texts."""
        ...


class Tokens:
    """`/v1/completions` of vLLM with token ids both ways, so that what is recorded is exactly what was sampled."""

    path = "completions"

    def __init__(self, reader: Reader, vocabulary: int) -> None:
        self.reader = reader
        self.vocabulary = vocabulary

    def question(self, prompt: Prompt, config: SamplingConfig) -> Question:
        """Every parameter is named: a server's own defaults come from the model's folder, and are not ours."""
        encoded = encode(prompt, self.reader, config.max_prompt_tokens)
        if encoded.pixels:
            raise InputError(f"prompt {prompt.id!r}: the openai engine samples prompts without images only")
        ids = encoded.token_ids
        is_greedy = config.temperature == 0
        return Question({
            "prompt": ids, "max_tokens": self.reader.room(len(ids), config.max_tokens),
            "temperature": config.temperature, "top_p": 1.0 if is_greedy else config.top_p,
            "top_k": 0 if is_greedy else config.top_k, "min_p": 0.0, "repetition_penalty": 1.0,
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "logprobs": 0, "return_token_ids": True,
            "return_tokens_as_token_ids": True, "stop_token_ids": list(self.reader.stop_ids)}, ids, is_plain(config))

    def request(self, question: Question, model: str, number: int, seed: int | None) -> dict[str, Any]:
        """See `Dialect.request`."""
        return _numbered(question, model, number, seed)

    def learns(self, refusal: RefusedError, body: Mapping[str, Any]) -> bool:
        """There is one way to ask."""
        return False

    def samples(self, reply: Any, question: Question, *, is_exact: bool) -> list[Sample]:
        """Ids and log-probs as they were sampled, texts still empty. See `Dialect.samples`."""
        found: list[Sample] = []
        for choice in _choices(reply):
            if choice.get("prompt_token_ids") != question.prompt_token_ids:
                raise TroubleError("a reply to another prompt than was asked")
            ids = self._ids(choice, question)
            logprobs = _logprobs(choice, len(ids))
            found.append(("", ids, logprobs if is_exact or question.is_plain else None, _reason(choice)))
        return found

    def worded(self, samples: Sequence[Sample]) -> list[Sample]:
        """Texts by the model's own tokenizer."""
        texts = self.reader.texts(ids or () for _, ids, _, _ in samples)
        return [(text, ids, logprobs, reason)
                for text, (_, ids, logprobs, reason) in zip(texts, samples, strict=True)]

    def _ids(self, choice: Mapping[str, Any], question: Question) -> list[int]:
        ids = choice.get("token_ids")
        if not isinstance(ids, list) or not ids or not all(type(i) is int for i in ids):
            raise TroubleError("a reply without token ids")
        if min(ids) < 0 or max(ids) >= self.vocabulary:
            raise TroubleError(f"token ids beyond the vocabulary's {self.vocabulary}")
        if len(ids) > question.body["max_tokens"]:
            raise TroubleError(f"{len(ids)} tokens, more than max_tokens ({question.body['max_tokens']})")
        return ids


class Chat:
    """`/v1/chat/completions`, which every server has: text alone."""

    path = "chat/completions"

    def __init__(self) -> None:
        self.limit = "max_tokens"
        """What the server calls the limit of new tokens; OpenAI's reasoning models know the longer name alone."""

    def question(self, prompt: Prompt, config: SamplingConfig) -> Question:
        """`top_k` is not in OpenAI's interface, and named only where it is asked for."""
        if prompt.images:
            raise InputError(f"prompt {prompt.id!r}: the openai engine samples prompts without images only")
        plain = isinstance(prompt.prompt, str)
        messages = [{"role": "user", "content": prompt.prompt}] if plain else prompt.prompt
        top_k = {"top_k": config.top_k} if config.top_k > 0 and config.temperature > 0 else {}
        return Question({"messages": messages, "max_tokens": config.max_tokens, "temperature": config.temperature,
                         "top_p": config.top_p} | top_k)

    def request(self, question: Question, model: str, number: int, seed: int | None) -> dict[str, Any]:
        """See `Dialect.request`."""
        body = _numbered(question, model, number, seed)
        body[self.limit] = body.pop("max_tokens")
        return body

    def learns(self, refusal: RefusedError, body: Mapping[str, Any]) -> bool:
        """That the limit has another name."""
        if refusal.status != 400 or LONGER_LIMIT not in refusal.said or LONGER_LIMIT in body:
            return False
        self.limit = LONGER_LIMIT
        return True

    def samples(self, reply: Any, question: Question, *, is_exact: bool) -> list[Sample]:
        """Texts. See `Dialect.samples`."""
        return [(_content(choice), None, None, _reason(choice)) for choice in _choices(reply)]

    def worded(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples as they are."""
        return list(samples)


def _numbered(question: Question, model: str, number: int, seed: int | None) -> dict[str, Any]:
    return {"model": model, **question.body, "n": number} | ({} if seed is None else {"seed": seed})


def _choices(reply: Any) -> list[Mapping[str, Any]]:
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise TroubleError("a reply without choices")
    return choices


def _reason(choice: Mapping[str, Any]) -> FinishReason:
    told = choice.get("finish_reason")
    if isinstance(told, str) and told in REASONS:
        return REASONS[told]
    if told in ("content_filter", "tool_calls", "function_call"):
        raise UnansweredError(f"the server ended a completion by {told}")
    raise TroubleError(f"a completion that ended by {told!r}")


def _content(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if content is None and _reason(choice) == "length":  # the whole limit went into reasoning that is not shown
        return ""
    if not isinstance(content, str):
        raise TroubleError("a choice without a message")
    return content


def _logprobs(choice: Mapping[str, Any], tokens: int) -> list[float]:
    told = choice.get("logprobs")
    logprobs = told.get("token_logprobs") if isinstance(told, dict) else None
    if not isinstance(logprobs, list) or len(logprobs) != tokens:
        found = len(logprobs) if isinstance(logprobs, list) else "no"
        raise TroubleError(f"{found} log-probs for {tokens} tokens")
    if not all(isinstance(value, float | int) and math.isfinite(value) and value <= ROUNDING for value in logprobs):
        raise TroubleError("log-probs that are none")
    return logprobs


def is_plain(config: SamplingConfig) -> bool:
    """Whether the sampling distribution is the network's own; at temperature 0 that is what is recorded."""
    return config.temperature == 0 or (config.temperature == 1 and config.top_p == 1 and config.top_k == 0)
