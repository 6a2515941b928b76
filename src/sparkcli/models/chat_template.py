"""A model's chat template: messages, tools and the template's own variables → the text that the network reads.

A last message of the assistant is continued: the text ends where that message does, and the model goes on from there.
"""

import functools
import inspect
import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from sparkcli.method.messages import Chat

log = logging.getLogger(__name__)

REPLY = "REPLY"
"""Stands for a reply where the template is asked what comes behind one."""
OWN_ARGUMENTS = {"messages", *inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters} - {
    "self", "documents", "kwargs"}
"""What transformers decides by, and a variable of a template cannot be called."""


def render(chat: Chat, tokenizer: PreTrainedTokenizerBase, processor: Any | None,
           variables: Mapping[str, Any]) -> str | None:
    """The text of a chat, which asks for a reply or begins one; None where the model has no template.

    A model that reads images is given parts of text, too: its template may know nothing else.

    Args:
        chat: what is shown; its own variables come before `variables`.
        tokenizer: of the model.
        processor: of a model that reads images.
        variables: of the template, from the settings.

    Raises:
        TemplateError, ValueError, TypeError: the template refuses it, cannot continue the last message, or shows none
            of the tools.
    """
    template = template_of(tokenizer, processor)
    if template is None:
        if chat.tools:
            raise ValueError("it has tools, and the model has no chat template, which would show them")
        return None
    given = {**variables, **(chat.variables or {})}
    check_variables(given)
    for name in given:
        tell_unused(name, str(template))
    if chat.tools and not _uses(str(template), "tools"):
        raise ValueError("it has tools, and the template does not show any")
    options: dict[str, Any] = {**given, "tokenize": False, "add_generation_prompt": not chat.continues,
                               "continue_final_message": chat.continues, "tools": list(chat.tools) or None}
    messages = [_with_arguments(message) for message in chat.messages]
    if processor is not None:
        return str(processor.apply_chat_template(messages, template, **options))
    return str(tokenizer.apply_chat_template(plain(messages), **options))


def _with_arguments(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose tool calls have their arguments as objects, as templates want them; OpenAI's have JSON text."""
    calls = []
    for call in message.get("tool_calls") or []:
        function = call.get("function", call)
        if isinstance(function.get("arguments"), str):
            function = {**function, "arguments": json.loads(function["arguments"])}
        calls.append({**call, "function": function} if "function" in call else function)
    return {**message, "tool_calls": calls} if calls else message


def template_of(tokenizer: PreTrainedTokenizerBase, processor: Any | None) -> Any | None:
    """The template, or several by name; None for a model without one."""
    return (processor.chat_template if processor is not None else None) or tokenizer.chat_template or None


def plain(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages with text in place of parts."""
    return [{**message, "content": "\n".join(part["text"] for part in message["content"])} for message in messages]


def check_variables(names: Iterable[str]) -> None:
    """Raises ValueError where what is given as a variable of the template is none."""
    if taken := sorted(set(names) & OWN_ARGUMENTS):
        raise ValueError(f"chat_template_kwargs: {taken[0]} is no variable of a template; leave it out")


@functools.cache
def tell_unused(name: str, template: str) -> None:
    """Warns, once, of a variable that says nothing to the template."""
    if not _uses(template, name):
        log.warning("the model's chat template has no variable %r: what chat_template_kwargs say of it changes nothing",
                    name)


def behind_reply(tokenizer: PreTrainedTokenizerBase, processor: Any | None) -> list[int]:
    """The tokens that the template puts behind a reply that ends a conversation; empty where it does not tell."""
    template = template_of(tokenizer, processor)
    if template is None:
        return []
    text: Any = [{"type": "text", "text": "?"}], [{"type": "text", "text": REPLY}]
    question, reply = text if processor is not None else ("?", REPLY)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": False}
    try:
        whole = (processor.apply_chat_template(messages, template, **options) if processor is not None else
                 tokenizer.apply_chat_template(messages, **options))
    except (TemplateError, ValueError, TypeError):  # it wants other messages than these
        return []
    behind = str(whole).rpartition(REPLY)[2].strip()
    ids: list[int] = tokenizer(behind, add_special_tokens=False)["input_ids"]
    return ids


def end_of_turn(tokenizer: PreTrainedTokenizerBase, processor: Any | None) -> int | None:
    """The marker that the template puts behind a reply; None where there is no such token."""
    markers = set(tokenizer.get_added_vocab().values())
    return next((token for token in behind_reply(tokenizer, processor)[:1] if token in markers), None)


def _uses(template: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", template) is not None
