"""The `prepare` stage: rows of any source → prompts."""

import dataclasses
import itertools
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sparkcli.builtin import PREFIX, problems
from sparkcli.config import PrepareConfig
from sparkcli.errors import InputError, UsageError
from sparkcli.files.images import absolute_images
from sparkcli.records import Prompt
from sparkcli.sources.layouts import adorned, detect, prompt_of
from sparkcli.sources.read import is_file, rows


def prepare(source: str, config: PrepareConfig,
            notice: Callable[[str], None] | None = None) -> Iterator[Prompt]:
    """The prompts of a source. Streams, unless it shuffles; a limit is taken after the shuffle.

    A source is a file, `-` (standard input, JSON Lines), a hub dataset (`OWNER/NAME` or `OWNER/NAME:CONFIG`),
    or `builtin:NAME[/SPLIT]`.

    Ids are unique: the row's own, after the file's name where it is a bare number; else a hash of the
    content. The second row with an id gets `-2` after it, the third `-3`. Image paths come out absolute.
    `notice` is told the layout that was recognised.

    Raises:
        UsageError: no such source, or a `--map` that does not fit.
        InputError: a row that cannot be read, an unknown layout, or no rows at all.
    """
    mapping = _mapping(config.map)
    if source.startswith(PREFIX):
        prompts = _builtin(source, config)
    else:
        prompts = _rows_as_prompts(source, config, mapping, notice)
    if config.shuffle:
        shuffled = list(prompts)
        random.Random(config.seed).shuffle(shuffled)
        prompts = iter(shuffled)
    limited = itertools.islice(prompts, config.limit)
    return (adorned(prompt, config.instruction, config.verifier) for prompt in limited)


def _rows_as_prompts(source: str, config: PrepareConfig, mapping: Mapping[str, str],
                     notice: Callable[[str], None] | None) -> Iterator[Prompt]:
    name = "" if source == "-" else Path(source.partition(":")[0]).name.partition(".")[0]
    folder = Path(source).absolute().parent if is_file(source) and source != "-" else Path.cwd()
    layout = None
    taken: set[str] = set()
    for place, row in rows(source, config.split):
        if layout is None:
            layout = detect(row, mapping, place)
            if notice:
                notice(f"{'stdin' if source == '-' else source}: layout {layout}")
        prompt = prompt_of(row, layout, place, number_prefix=name)
        yield absolute_images(_with_unique_id(prompt, taken), folder)
    if layout is None:
        raise InputError(f"{'stdin' if source == '-' else source}: empty; expected rows")


def _with_unique_id(prompt: Prompt, taken: set[str]) -> Prompt:
    """The prompt, under an id that is not taken, which is taken thereby."""
    names = itertools.chain([prompt.id], (f"{prompt.id}-{number}" for number in itertools.count(2)))
    name = next(name for name in names if name not in taken)
    taken.add(name)
    return prompt if name == prompt.id else dataclasses.replace(prompt, id=name)


def _builtin(source: str, config: PrepareConfig) -> Iterator[Prompt]:
    return problems(source, config.split, config.seed, sys.maxsize if config.limit is None else config.limit)


def _mapping(entries: tuple[str, ...]) -> dict[str, str]:
    """`("question=problem",)` as a dictionary."""
    mapping = {}
    for entry in entries:
        field, _, column = entry.partition("=")
        if not field or not column:
            raise UsageError(f"--map {entry}: expected FIELD=COLUMN, e.g. question=problem")
        mapping[field] = column
    return mapping
