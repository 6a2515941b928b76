r"""Wordings of judge, pair and reflection prompts: checked when they are read, filled in one pass.

A wording is text with `{{name}}` where something is quoted, and it asks for its answer in `\boxed{}`, the one
spelling that verifiers and judges read.
"""

import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sparkcli.errors import UsageError, nearest

Attempt = Literal["cot", "answer"]
Kind = Literal["revise", "afresh"]

LABELS = (("Yes", "No"), ("A", "B"))
"""The labels of the published wordings; a template may have others."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_LABEL = re.compile(r"[^\W_]+(?: [^\W_]+)*")
_QUOTED = {"pointwise": ("question", "answer"), "pairwise": ("question", "answer_a", "answer_b"),
           "reflection": ("question", "attempt")}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeWording:
    """One way to ask for a verdict. `labels`: right, wrong (pointwise) or first, second (pairwise)."""

    name: str
    text: str
    labels: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectWording:
    """One way to ask for a solution after an attempt was shown.

    `attempt`: the whole chain of thought is shown, or its final answer. `kind`: "revise" leaves open whether
    it is right; "afresh" says that it is wrong.
    """

    name: str
    text: str
    attempt: Attempt
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """All wordings that a stage may draw from; none of the tuples is empty."""

    pointwise: tuple[JudgeWording, ...]
    pairwise: tuple[JudgeWording, ...]
    reflection: tuple[ReflectWording, ...]

    @classmethod
    def from_tables(cls, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> "Templates":
        """Checks what `files.templates.read_templates` has read.

        Raises:
            UsageError: names file and template, and what is wrong with it.
        """
        templates = cls(pointwise=tuple(_judge("pointwise", tables["pointwise"])),
                        pairwise=tuple(_judge("pairwise", tables["pairwise"])),
                        reflection=tuple(_reflect(tables["reflection"])))
        for attempt in typing.get_args(Attempt):
            if not templates.reflections(attempt, "afresh"):
                raise UsageError("reflection.toml: expected one with "
                                 f'attempt = "{attempt}" and kind = "afresh", found none')
        return templates

    @property
    def verdicts(self) -> tuple[JudgeWording, ...]:
        """Pointwise wordings that ask for Yes or No; all of them where none does (other languages)."""
        plain = tuple(wording for wording in self.pointwise if wording.labels == LABELS[0])
        return plain or self.pointwise

    def reflections(self, attempt: Attempt, kind: Kind | None = None) -> tuple[ReflectWording, ...]:
        """Wordings that show this part of an attempt, of one kind or of both."""
        return tuple(wording for wording in self.reflection
                     if wording.attempt == attempt and kind in (None, wording.kind))


def fill(text: str, **values: str) -> str:
    """`text` with each `{{name}}` replaced. One pass: what a value contains is never replaced again.

    >>> fill("{{question}} Is it {{answer}}?", question="What is {{answer}}?", answer=r"\\frac{1}{2}")
    'What is {{answer}}? Is it \\\\frac{1}{2}?'
    """
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def _judge(kind: str, tables: Sequence[Mapping[str, Any]]) -> Iterable[JudgeWording]:
    for name, text, table in _checked(kind, tables, {"labels"}):
        labels = table.get("labels")
        where = f"{kind}.toml: {name}: labels"
        if not isinstance(labels, list) or [type(label) for label in labels] != [str, str]:
            raise UsageError(f'{where}: expected two strings, e.g. ["Yes", "No"], found {labels!r}')
        for label in labels:
            if not _LABEL.fullmatch(label):
                raise UsageError(f"{where}: {label!r} cannot be read from a box; use letters, digits, spaces")
        if labels[0].casefold() == labels[1].casefold():
            raise UsageError(f"{where}: expected two that differ, found {labels!r}")
        yield JudgeWording(name=name, text=text, labels=(labels[0], labels[1]))


def _reflect(tables: Sequence[Mapping[str, Any]]) -> Iterable[ReflectWording]:
    for name, text, table in _checked("reflection", tables, {"attempt", "kind"}):
        for key, known in (("attempt", ("cot", "answer")), ("kind", ("revise", "afresh"))):
            if table.get(key) not in known:
                raise UsageError(f"reflection.toml: {name}: {key}: expected {' or '.join(known)}, "
                                 f"found {table.get(key)!r}")
        yield ReflectWording(name=name, text=text, attempt=table["attempt"], kind=table["kind"])


def _checked(kind: str, tables: Sequence[Mapping[str, Any]],
             own_keys: set[str]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    """Name, text and table of each template, once what all kinds share is right."""
    names: set[str] = set()
    for number, table in enumerate(tables, 1):
        name, text = table.get("name"), table.get("text")
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            raise UsageError(f"{kind}.toml: template {number}: name: expected letters and digits, found {name!r}")
        where = f"{kind}.toml: {name}"
        if name in names:
            raise UsageError(f"{where}: expected each name once, found it again")
        names.add(name)
        keys = {"name", "text"} | own_keys
        for key in sorted(set(table) - keys):
            raise UsageError(f"{where}: {key}: unknown key{nearest(key, keys)}")
        if not isinstance(text, str):
            raise UsageError(f"{where}: text: expected a string, found {text!r}")
        _check_text(where, text, _QUOTED[kind])
        yield name, text, table


def _check_text(where: str, text: str, quoted: Sequence[str]) -> None:
    found = _PLACEHOLDER.findall(text)
    for name in found:
        if name not in quoted:
            raise UsageError(f"{where}: text: unknown placeholder {{{{{name}}}}}{nearest(name, quoted)}")
    for name in quoted:
        if name not in found:
            raise UsageError(f"{where}: text: expected the placeholder {{{{{name}}}}}, missing")
    if r"\boxed{" not in text:
        raise UsageError(f"{where}: text: expected it to ask for \\boxed{{…}}, where the answer is read")
