"""The images of prompts on their way from a source to a file: found, looked at, and kept where they had no file.

Every image is decoded once, so that what cannot be seen is told now and by name. What is a file stays where it is,
under its absolute path. What a table holds as bytes, and what was fetched, is kept in a folder under its content's
hash. Paths in that folder are relative to the output where the folder lies below it, so that both can be moved
together. Data URIs are kept as files as well, unless there is no folder: they need none.
"""

import os
from pathlib import Path

from sparkcli.errors import InputError, UsageError
from sparkcli.files.images import decoded, is_data, is_path, read_image, store_image, told, with_images
from sparkcli.files.jsonl import is_stream
from sparkcli.method.messages import chat_of
from sparkcli.records import Prompt
from sparkcli.sources.cells import BYTES


class Gallery:
    """Where the images of one source are, and where those are kept that are no files.

    Args:
        beside: the folder that relative paths start from; `images/` in it is looked through as well.
        out: the file that prompts are written to; `-`: standard output, or prompts are used at once.
        images: folder to keep images in; None: `NAME-images` beside `out`, and none for standard output.
    """

    def __init__(self, beside: Path, out: str, images: str | None, *, allow_remote: bool) -> None:
        self._beside = beside
        self._allow_remote = allow_remote
        self._base = None if is_stream(out) else _absolute(out).parent
        self._folder = _absolute(images) if images else _usual(out)
        self._settled: dict[str, str] = {}
        """What became of references to files and of URLs; data URIs are too long to remember."""

    def hung(self, prompt: Prompt, place: str) -> Prompt:
        """The prompt with references that hold wherever it is read.

        Raises:
            InputError: `PLACE: image 2 (PATH): what is wrong`; images and their places do not match in number.
            UsageError: bytes, and no folder for them.
        """
        try:
            shown = chat_of(prompt).images
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        settled = dict[str, str]()
        for number, reference in enumerate(shown, 1):
            if reference not in settled:
                settled[reference] = self._settle(reference, f"{place}: image {number} ({told(reference)})")
        return with_images(prompt, lambda reference: settled.get(reference, reference))

    def _settle(self, reference: str, name: str) -> str:
        if reference in self._settled:
            return self._settled[reference]
        found = self._found(reference) if is_path(reference) else reference
        content = read_image(found, allow_remote=self._allow_remote, name=name)
        decoded(content, name)
        if is_data(reference):
            is_text = self._folder is None and not reference.startswith(BYTES)
            return reference if is_text else self._kept(content, name)
        self._settled[reference] = self._told(Path(found)) if is_path(reference) else self._kept(content, name)
        return self._settled[reference]

    def _found(self, path: str) -> str:
        """A path as it can be opened. Tables that name files alone (`v1_0.png`) have them in `images/`."""
        here, below = self._beside / path, self._beside / "images" / path
        return str(below if os.path.exists(below) and not os.path.exists(here) else here)

    def _kept(self, content: bytes, name: str) -> str:
        if self._folder is None:
            raise UsageError(f"{name}: is no file; name a folder to keep such images in with --images DIR, or write "
                             "the prompts to a file with -o")
        return self._told(store_image(content, self._folder))

    def _told(self, path: Path) -> str:
        ours = self._folder is not None and path.is_relative_to(self._folder)
        if ours and self._base is not None and path.is_relative_to(self._base):
            return path.relative_to(self._base).as_posix()
        return str(path)


def _absolute(path: str) -> Path:
    """Without `..`, so that what lies below what can be told by the names."""
    return Path(os.path.abspath(path))


def _usual(out: str) -> Path | None:
    """`prompts-images` beside `prompts.jsonl.gz`."""
    if is_stream(out):
        return None
    path = _absolute(out)
    name = path.name
    for suffix in (".gz", ".zst", ".jsonl", ".ndjson", ".json"):
        name = name.removesuffix(suffix)
    return path.with_name(f"{name}-images")
