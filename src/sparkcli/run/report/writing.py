"""The page as bytes. All that comes from records is escaped, and characters that would hide or reorder text are told.

There is no script in the page, and its policy lets none run; it loads nothing. The same input gives the same bytes.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sparkcli.bench.tables import percent
from sparkcli.errors import InputError
from sparkcli.json_values import to_bytes
from sparkcli.method.group_kinds import GROUP_KINDS
from sparkcli.records import IMAGE_PARTS, Rollout, question_of, token_count
from sparkcli.run.report.album import Album
from sparkcli.run.report.curves import draw, histogram
from sparkcli.run.report.figures import Figures, listed
from sparkcli.run.report.history import PARTS, History, read_history, readable
from sparkcli.run.report.line import NOT_SAMPLED
from sparkcli.run.report.reading import Group, Records, read_records
from sparkcli.run.state import RunFolder

WORDS = {"correct": "correct", "wrong": "wrong", "no_answer": "no answer", "timeout": "timeout", "error": "error",
         "gold_unparseable": "gold unreadable", NOT_SAMPLED: "not sampled", "Yes": "judged right",
         "No": "judged wrong", None: "not verified"}
"""What the page calls what was said of a sample."""
SIGNS = {"correct": "✓", "wrong": "✗", "no_answer": "∅", "Yes": "✓", "No": "✗"}
TEXT_SHOWN = 20_000
"""Characters of a text that are shown; how many more there are is told."""
TEXT_FOLDED = 700
"""A longer text is folded."""
LINE_SHOWN = 300
"""Characters of what stands in a line."""

_HIDING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
                     "\ufff9-\ufffc\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]")
"""Control characters, halves of characters, and what turns the direction of text or is not seen."""


@dataclass(frozen=True)
class Part:
    """A file of records on the page; `name` opens the names of its anchors."""

    name: str
    title: str
    records: Records


@dataclass(frozen=True)
class Page:
    """HTML in UTF-8, and a line on what is in it."""

    content: bytes
    summary: str


def page_on_records(path: str, limit: int, *, allow_remote: bool) -> Page:
    """The page on a file of records.

    Raises:
        InputError: it cannot be read, or holds no records.
    """
    album = Album(allow_remote)
    records = read_records(path, limit, album)
    return _page(records.name, [Part("records", "Records", records)], album, None)


def page_on_run(path: Path, limit: int, *, allow_remote: bool) -> Page:
    """The page on a run directory, with `limit` prompts of each update of its newest step.

    Raises:
        InputError: it is no run, or something in it is damaged.
    """
    folder = RunFolder(path)
    history = read_history(folder)
    album = Album(allow_remote)
    parts = []
    for name, title in (("scored", "policy update"), ("again-scored", "recycled update")):
        file = folder.step(history.done) / f"{name}.jsonl"
        if file.exists():
            parts.append(Part(name, f"Step {history.done}, {title}", read_records(str(file), limit, album)))
    return _page(str(path), parts, album, history)


def _page(title: str, parts: Sequence[Part], album: Album, history: History | None) -> Page:
    shown = [(part, [_view(part, group, album) for group in part.records.shown]) for part in parts]
    anchors = {view["id"]: view["anchor"] for _, views in reversed(shown) for view in reversed(views)}
    text = _environment().get_template("page.html").render(
        title=title, parts=shown, album=album, anchors=anchors, history=history, drawings=_drawings(history))
    told = [f"{history.done} of {history.steps} steps"] if history else []
    told.append(f"{sum(len(views) for _, views in shown)} of {sum(part.records.groups for part in parts)} prompts")
    if album.pictures:
        told.append(f"{len(album.pictures)} image{'' if len(album.pictures) == 1 else 's'}"
                    + (f", {album.closed} cannot be opened" if album.closed else ""))
    return Page(text.encode(), "; ".join(told))


def _drawings(history: History | None) -> list[tuple[str, Markup]]:
    return [(panel.title, Markup(draw(panel))) for panel in history.panels()] if history else []


def _view(part: Part, group: Group, album: Album) -> dict[str, Any]:
    """A group as the template reads it: its messages, whose images are pictures, and its samples."""
    prompt = group.prompt
    messages, problem = [], None
    try:
        chat, pictures = album.shown(prompt, group.absolute)
        waiting = iter(pictures)
        messages = [(message["role"], [next(waiting) if part["type"] in IMAGE_PARTS else part["text"]
                                       for part in message["content"]]) for message in chat.messages]
    except InputError as error:
        problem = str(error).removeprefix(f"prompt {prompt.id!r}: ")
        messages = [("", [question_of(prompt)])]
    return {"id": prompt.id, "anchor": f"{part.name}-{group.number}", "group": group, "prompt": prompt,
            "messages": messages, "problem": problem}


@functools.cache
def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                              finalize=_finalized, loader=FunctionLoader(_template))
    environment.filters.update(percent=lambda share: percent(share.to_json()), result=percent, readable=readable,
                               brief=_brief, number=_number, mean=_mean, lengths=_lengths)
    environment.globals.update(GROUP_KINDS=GROUP_KINDS, WORDS=WORDS, SIGNS=SIGNS, PARTS=PARTS, TEXT_SHOWN=TEXT_SHOWN,
                               TEXT_FOLDED=TEXT_FOLDED, listed=listed, token_count=token_count, len=len)
    return environment


def _template(name: str) -> str:
    return (resources.files("sparkcli.run.report") / "page" / name).read_text(encoding="utf-8")


def _finalized(value: Any) -> Any:
    """What an expression of a template comes to. Markup is the templates' own; all other text is made harmless."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def visible(text: str) -> str:
    r"""Text whose every character is seen and stands where it is.

    >>> visible("a\u202eb\x00\ud800")
    'a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩'
    """
    return _HIDING.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text.replace("\r\n", "\n"))


def _brief(value: Any) -> str:
    """One line of a text, or of another value as JSON; a longer one is cut."""
    text = value if isinstance(value, str) else to_bytes(value).decode()
    text = " ".join(text[:LINE_SHOWN * 4].split())
    return text if len(text) <= LINE_SHOWN else f"{text[:LINE_SHOWN]}…"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def _mean(rollout: Rollout) -> float | None:
    """Mean log-prob of a completion's tokens, where they are in the record."""
    return sum(rollout.logprobs) / len(rollout.logprobs) if rollout.logprobs else None


def _lengths(figures: Figures, name: str) -> Markup | None:
    """A histogram of completion lengths by task; None where no record tells any. `name` is that of its part."""
    lengths = {task: counts.tokens for task, counts in figures.tasks.items() if counts.tokens}
    return Markup(histogram(f"{name}-lengths", lengths)) if lengths else None
