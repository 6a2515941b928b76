"""How a prompt is put to a server and its reply read: as token ids to a vLLM server, as chat messages to any other.

A reply is checked before it counts: what is not as it was asked for is `TroubleError`, and asked again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sparkcli.config import ModelConfig, SamplingConfig
from sparkcli.engines.groups import Sample
from sparkcli.engines.openai.connection import RefusedError, TroubleError, UnansweredError
from sparkcli.engines.openai.images import messages_with
from sparkcli.engines.openai.replies import choices_in, content_in, ids_in, logprobs_in, reason_in
from sparkcli.engines.vllm.images import difference
from sparkcli.errors import InputError
from sparkcli.files.images import load_images
from sparkcli.method.messages import Chat as Messages
from sparkcli.method.messages import checked_chat_of
from sparkcli.models.prompts import encode, load_pictures, scaled_down
from sparkcli.models.reader import Reader
from sparkcli.records import Prompt

LONGER_LIMIT = "max_completion_tokens"


@dataclass(frozen=True)
class Question:
    """A request for completions of one prompt, but for the model's name, their number and seed."""

    body: Mapping[str, Any]
    path: str = "chat/completions"
    """Below the base URL."""
    prompt_token_ids: Sequence[int] | None = None
    is_plain: bool = False
    """See `is_plain`."""
    in_thought: bool = False
    """Whether the prompt ends within a thought."""


class Dialect(Protocol):
    """One way to ask."""

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
    """vLLM's server with token ids both ways, so that what is recorded is exactly what was sampled.

    Text is given as token ids. Images go with chat messages, of which the server makes tokens and pixels by itself, as
    it was told when it started: the tokens are compared with ours.
    """

    def __init__(self, reader: Reader, vocabulary: int) -> None:
        self.reader = reader
        self.vocabulary = vocabulary

    def question(self, prompt: Prompt, config: SamplingConfig) -> Question:
        """Every parameter is named: a server's own defaults come from the model's folder, and are not ours."""
        encoded = encode(prompt, self.reader, config.max_prompt_tokens)
        ids = encoded.token_ids
        is_greedy = config.temperature == 0
        path, put = self._seen(prompt) if encoded.pixels else ("completions", {"prompt": ids, "logprobs": 0})
        return Question({
            **put, "max_tokens": self.reader.room(len(ids), config.max_tokens),
            "temperature": config.temperature, "top_p": 1.0 if is_greedy else config.top_p,
            "top_k": 0 if is_greedy else config.top_k, "min_p": 0.0, "repetition_penalty": 1.0,
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "return_token_ids": True,
            "return_tokens_as_token_ids": True, "stop_token_ids": list(self.reader.stop_ids)},
            path, ids, is_plain(config), self.reader.opens_thought(ids))

    def request(self, question: Question, model: str, number: int, seed: int | None) -> dict[str, Any]:
        """See `Dialect.request`."""
        return _numbered(question, model, number, seed)

    def learns(self, refusal: RefusedError, body: Mapping[str, Any]) -> bool:
        """There is one way to ask."""
        return False

    def samples(self, reply: Any, question: Question, *, is_exact: bool) -> list[Sample]:
        """Ids and log-probs as they were sampled, texts still empty. See `Dialect.samples`."""
        found: list[Sample] = []
        for choice in choices_in(reply):
            _check_prompt(reply, choice, question)
            ids = ids_in(choice, question.body["max_tokens"], self.vocabulary)
            logprobs = logprobs_in(choice, len(ids))
            found.append(("", ids, logprobs if is_exact or question.is_plain else None, reason_in(choice)))
        return found

    def worded(self, samples: Sequence[Sample]) -> list[Sample]:
        """Texts by the model's own tokenizer."""
        texts = self.reader.texts(ids or () for _, ids, _, _ in samples)
        return [(text, ids, logprobs, reason)
                for text, (_, ids, logprobs, reason) in zip(texts, samples, strict=True)]

    def _seen(self, prompt: Prompt) -> tuple[str, dict[str, Any]]:
        """Where and how a prompt with images is put."""
        chat = checked_chat_of(prompt)
        pictures = load_pictures(prompt.id, chat.images, self.reader)
        ending = {"add_generation_prompt": False, "continue_final_message": True} if chat.continues else {}
        return "chat/completions", {"messages": messages_with(chat, pictures), "logprobs": True, "top_logprobs": 0,
                                    **ending, **_for_template(chat, self.reader.chat_template_kwargs)}


class Chat:
    """`/v1/chat/completions`, which every server has: text comes back, no tokens.

    Images are sent as data URIs, no larger than `max_pixels`: a path or an address never leaves this machine. A last
    message of the assistant is refused: such servers answer it with a message of its own, as a rule.
    """

    def __init__(self, model: ModelConfig) -> None:
        self.model = model
        self.limit = "max_tokens"
        """What the server calls the limit of new tokens; OpenAI's reasoning models know the longer name alone."""

    def question(self, prompt: Prompt, config: SamplingConfig) -> Question:
        """`top_k` and `chat_template_kwargs` are not in OpenAI's interface, and named only where they are asked for."""
        chat = checked_chat_of(prompt)
        if chat.continues:
            raise InputError(f"prompt {prompt.id!r}: ends with a message of the assistant, to be continued, and a chat "
                             "server would answer with another; sample at a vLLM server (`sparkcli serve`), or with "
                             "--engine transformers or vllm")
        top_k = {"top_k": config.top_k} if config.top_k > 0 and config.temperature > 0 else {}
        return Question({"messages": self._messages(prompt, chat), "max_tokens": config.max_tokens,
                         "temperature": config.temperature, "top_p": config.top_p} | top_k
                        | _for_template(chat, self.model.chat_template_kwargs or {}))

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
        return [(content_in(choice), None, None, reason_in(choice)) for choice in choices_in(reply)]

    def worded(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples as they are."""
        return list(samples)

    def _messages(self, prompt: Prompt, chat: Messages) -> list[dict[str, Any]]:
        if chat.images:
            pictures = load_images(prompt.id, chat.images, allow_remote=self.model.allow_remote_images)
            return messages_with(chat, [scaled_down(picture, self.model.max_pixels) for picture in pictures])
        return [{"role": "user", "content": prompt.prompt}] if isinstance(prompt.prompt, str) else prompt.prompt


def _for_template(chat: Messages, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a chat template is given beside the messages. Tools are shown and not called: a completion is text."""
    given = {**variables, **(chat.variables or {})}
    return ({"tools": list(chat.tools), "tool_choice": "none"} if chat.tools else {}) | (
        {"chat_template_kwargs": given} if given else {})


def _check_prompt(reply: Any, choice: Mapping[str, Any], question: Question) -> None:
    """Raises unless the server has read the tokens that we have. Those of images it would always read as it did."""
    assert question.prompt_token_ids is not None
    if "messages" not in question.body:
        if choice.get("prompt_token_ids") != question.prompt_token_ids:
            raise TroubleError("a reply to another prompt than was asked")
    elif found := difference(question.prompt_token_ids, reply.get("prompt_token_ids")):
        raise UnansweredError(f"the server {found}")


def _numbered(question: Question, model: str, number: int, seed: int | None) -> dict[str, Any]:
    return {"model": model, **question.body, "n": number} | ({} if seed is None else {"seed": seed})


def is_plain(config: SamplingConfig) -> bool:
    """Whether the sampling distribution is the network's own; at temperature 0 that is what is recorded."""
    return config.temperature == 0 or (config.temperature == 1 and config.top_p == 1 and config.top_k == 0)
