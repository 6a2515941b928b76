"""Records and images for pages."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

Write = Callable[..., Path]


def row(id: str, **fields: Any) -> dict[str, Any]:
    """A prompt as it stands in a file."""
    return {"id": id, "prompt": f"What is {id}?", "answer": "4", **fields}


def scored(id: str, *statuses: str, **fields: Any) -> list[dict[str, Any]]:
    """A group of verified samples with these verdicts."""
    worth = {"correct": 1.0, "wrong": 0.0, "no_answer": 0.0}
    return [row(id, sample=number, samples=len(statuses), completion=f"It is \\boxed{{{number}}}.",
                finish_reason="stop", token_ids=[1, 2, 3], logprobs=[-0.5, -1.0, -1.5], reward=worth.get(status),
                verdict={"status": status, "extracted": str(number), "verifier": "math"}, **fields)
            for number, status in enumerate(statuses)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(rows, ...)` writes `tmp_path/records.jsonl`."""

    def do(*rows: dict[str, Any], name: str = "records.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
        return path

    return do


def picture(path: Path, size: tuple[int, int] = (640, 480), colour: str = "red") -> Path:
    """A file with an image in one colour."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


class Read(HTMLParser):
    """What a browser would see of a page: its elements with their attributes, and its text."""

    VOID = frozenset({"meta", "br", "img", "input", "link", "hr"})
    INLINE = frozenset({"a", "bdi", "q", "span", "strong"})

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()
        assert self.open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.words.append("" if tag in self.INLINE else " ")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.words.append("" if tag in self.INLINE else " ")

    def handle_data(self, data: str) -> None:
        self.words.append("" if self.open[-1:] == ["style"] else data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.elements if (value := attributes.get(attribute)) is not None]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run that was killed in its third step."""
    folder = tmp_path / "run"
    (folder / "heldout").mkdir(parents=True)
    (folder / "recipe.toml").write_text('[loop]\nsteps = 4\nout = "somewhere"\n\n[train]\nlr = 0.0001\n')
    (folder / "state.json").write_text('{"step": 2}')
    share = {"solve": {"accuracy": 0.25, "stderr": 0.125, "n": 12}, "self_reflection": {"accuracy": None, "n": 0}}
    (folder / "heldout" / "before.json").write_text(json.dumps({"abilities": share, "scaling": {}}))
    during = {"abilities": {"solve": {"accuracy": 0.5, "stderr": 0.2, "n": 6}}}
    phase = {"loss": 0.5, "kl": 0.01, "entropy": 1.5, "grad_norm": 2.0, "completion_tokens": 12.0}
    metrics = [{"step": 1, "policy": {**phase, "reward": {"solve": 0.25}}, "queue": 3},
               {"step": 2, "policy": {**phase, "loss": None, "reward": {"solve": 0.5}}, "queue": 1, "eval": during,
                "recycled": {**phase, "reward": {"judge": 0.75}}},
               {"step": 3, "policy": {"reward": {"solve": 1.0}}, "queue": 9}]
    timings = [{"step": 0, "before": 2.0}, *({"step": step, "rollout": 1.0, "train": 2.0, "all": 3.5}
                                             for step in (1, 2))]
    for name, rows in (("metrics", metrics), ("timings", timings)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    step = folder / "steps" / "000002"
    step.mkdir(parents=True)
    judge = scored("p/judge", "correct", task="judge", source=[{"id": "p", "sample": 1}])
    for name, rows in (("scored", scored("p", "correct", "wrong")), ("again-scored", judge)):
        (step / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    return folder
