"""A file of records as groups of samples. Streams: only what is shown is kept.

Shown are at most `limit` prompts: those whose samples have unlike verdicts, in the order of the file, and where these
are fewer, the first of the others.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sparkcli.errors import InputError
from sparkcli.files.images import absolute_images
from sparkcli.files.jsonl import decode, lines
from sparkcli.method.group_kinds import outcome_of
from sparkcli.records import Prompt
from sparkcli.run.report.album import Album
from sparkcli.run.report.figures import Figures
from sparkcli.run.report.line import Line, line_of

SAMPLES_SHOWN = 64
"""Samples of a prompt that are kept; the others are counted."""


@dataclass(slots=True)
class Group:
    """A prompt with its samples, of which the first are kept. `words`, outcomes and rewards are of all of them."""

    prompt: Prompt
    absolute: Prompt
    """With paths of images that open from anywhere."""
    number: int
    """In the file, from 1."""
    size: int = 0
    samples: list[Line] = field(default_factory=list)
    words: Counter[str | None] = field(default_factory=Counter)
    outcomes_G: list[float | None] = field(default_factory=list)
    rewards_G: list[float | None] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Takes in one more sample."""
        self.size += 1
        self.words[line.word] += 1
        self.outcomes_G.append(outcome_of(line.reward, line.terms))
        self.rewards_G.append(line.reward)
        if len(self.samples) < SAMPLES_SHOWN:
            self.samples.append(line)


@dataclass(slots=True)
class Records:
    """What there is to show of a file."""

    name: str
    limit: int
    figures: Figures = field(default_factory=Figures)
    groups: int = 0
    unlike: list[Group] = field(default_factory=list)
    others: list[Group] = field(default_factory=list)

    def take(self, group: Group) -> None:
        """Counts a group, and keeps it if it may be shown."""
        self.groups += 1
        self.figures.end_group(group.prompt.task, group.words, group.outcomes_G, group.rewards_G)
        kept = self.unlike if len(group.words) > 1 else self.others
        if len(kept) < self.limit:
            kept.append(group)

    @property
    def shown(self) -> list[Group]:
        """The groups that are shown, in order."""
        return [*self.unlike, *self.others][:self.limit]


def read_records(path: str, limit: int, album: Album) -> Records:
    """Reads a file of records, also `.gz` and `.zst`, or standard input for `-`; its images go into the album.

    Raises:
        InputError: no such file, nothing in it, or a line that is no record.
    """
    records = Records("standard input" if path == "-" else path, limit)
    for group in _grouped(path, records.figures):
        album.see(group.prompt, group.absolute)
        records.take(group)
    if not records.groups:
        raise InputError(f"{records.name}: empty; expected records as prepare, rollout, verify, recycle, judge or "
                         "reflect write them")
    return records


def _grouped(path: str, figures: Figures) -> Iterator[Group]:
    """Neighbours with the same prompt id; their lines are counted on the way."""
    folder = Path.cwd() if path == "-" else Path(path).absolute().parent
    group: Group | None = None
    for place, content in lines(path):
        line = line_of(decode(content, place), place)
        if group is None or line.rollout is None or line.prompt.id != group.prompt.id:
            if group is not None:
                yield group
            number = group.number + 1 if group is not None else 1
            group = Group(line.prompt, absolute_images(line.prompt, folder), number)
        figures.add(line)
        if line.rollout is not None:
            group.add(line)
    if group is not None:
        yield group
