"""New prompts around what a model has answered: is it right, which of two is right, do it again.

Shared by recycling (where the label is known) and by judging and reflecting (where it is asked for). Images
of the original go along, and so does a conversation: the wording, which quotes the last question, takes the place of
that question, so that the answer is judged or tried again within all that was said before it.
"""

import dataclasses
from typing import Any, Literal

from sparkcli.method.answers import final_answer
from sparkcli.method.templates import LABELS, JudgeWording, ReflectWording, fill
from sparkcli.method.thoughts import reply_of
from sparkcli.records import IMAGE_PARTS, RECORDS, Prompt, Rollout, Scored, Source, Task, question_of

_FIELDS = {field.name for record in RECORDS.values() for field in dataclasses.fields(record)}


def answer_of(rollout: Rollout) -> str | None:
    """The final answer: as the verifier has read it, else by `final_answer`; None for a failed sample."""
    if rollout.finish_reason == "error":
        return None
    if isinstance(rollout, Scored) and rollout.verdict.extracted:
        return rollout.verdict.extracted
    return final_answer(reply_of(rollout))


def foreign_fields(record: Prompt) -> dict[str, Any]:
    """What a record carries of its data set: not what an earlier stage has said about its completion."""
    return {name: value for name, value in record.extra.items() if name not in _FIELDS}


def shown(rollout: Rollout, part: Literal["answer", "solution"]) -> str | None:
    """What a judge is shown of a rollout; None where there is nothing to show."""
    if part == "answer":
        return answer_of(rollout)
    return rollout.completion.strip() or None


def ask_if_right(rollout: Rollout, text: str, wording: JudgeWording, id: str,
                 right: bool | None = None) -> Prompt:
    """A pointwise judge prompt on `text`; `right` is the label, None where it is not known."""
    label = None if right is None else wording.labels[0 if right else 1]
    asked = fill(wording.text, question=question_of(rollout), answer=text)
    return _around((rollout,), asked, id=id, task="judge", answer=label, verifier=_reader(wording))


def ask_which(pair: tuple[Rollout, Rollout], texts: tuple[str, str], wording: JudgeWording, id: str,
              right: int | None = None) -> Prompt:
    """A pairwise prompt in the order given; `right` is 0 or 1, None where it is not known."""
    label = None if right is None else wording.labels[right]
    asked = fill(wording.text, question=question_of(pair[0]), answer_a=texts[0], answer_b=texts[1])
    return _around(pair, asked, id=id, task="compare", answer=label, verifier=_reader(wording))


def ask_again(rollout: Rollout, attempt: str, wording: ReflectWording, id: str) -> Prompt:
    """A reflection prompt that shows `attempt`; gold answer and verifier are the original's."""
    asked = fill(wording.text, question=question_of(rollout), attempt=attempt)
    return _around((rollout,), asked, id=id, task="reflect", answer=rollout.answer, verifier=rollout.verifier)


def _reader(wording: JudgeWording) -> str | dict[str, Any]:
    """The verifier `label`; labels that it does not know by itself are given to it."""
    return "label" if wording.labels in LABELS else {"name": "label", "labels": list(wording.labels)}


def _around(made_from: tuple[Rollout, ...], text: str, *, id: str, task: Task, answer: str | None,
            verifier: str | dict[str, Any] | None) -> Prompt:
    original = made_from[0]
    return Prompt(id=id, prompt=_in_form_of(original, text), question=question_of(original), answer=answer,
                  verifier=verifier, task=task, images=original.images, tools=original.tools,
                  chat_template_kwargs=original.chat_template_kwargs,
                  source=tuple(Source(id=rollout.id, sample=rollout.sample) for rollout in made_from),
                  extra=foreign_fields(original))


def _in_form_of(original: Prompt, text: str) -> str | list[dict[str, Any]]:
    """`text` as the original was asked: a string, or its conversation with `text` in place of the last user message,
    that message's images first. What follows that message stays before `text`, but for the begin of the reply, which is
    in the completion."""
    if isinstance(original.prompt, str):
        return text
    begun = original.prompt[-1]["role"] == "assistant"
    turns = original.prompt[:-1] if begun else original.prompt
    users = [number for number, message in enumerate(turns) if message["role"] == "user"]
    if not users or users[-1] < len(turns) - 1:
        return [*turns, {"role": "user", "content": text}]
    *earlier, asked = turns
    content = asked["content"] if isinstance(asked["content"], list) else []
    images = [part for part in content if part["type"] in IMAGE_PARTS]
    return [*earlier, {"role": "user", "content": [*images, {"type": "text", "text": text}] if images else text}]
