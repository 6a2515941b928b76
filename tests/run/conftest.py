"""Small runs: the scripted engine, which is right now and then, and a random network that is really trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.models.tiny import write_model

from sparkcli.records import Prompt, dumps
from sparkcli.run.loop import run
from sparkcli.run.settings import Settings
from sparkcli.run.watch import watching

SMALL: dict[str, dict[str, Any]] = {
    "loop": {"steps": 3, "prompts_per_step": 2, "queue_batch": 4, "keep": 9},
    "model": {"engine": "scripted", "device": "cpu"},
    "rollout": {"samples": 4, "max_tokens": 64},
    "verify": {"jobs": 1},
    "train": {"updates": 1, "lr": 1e-3, "method": "full"},
    "eval": {"limit": 2},
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("loop-model", numbered=False), eos_bias=0.5)


@pytest.fixture(scope="session")
def prompts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts whose verifier needs no worker process."""
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    path.write_bytes(b"".join(dumps(Prompt(id=f"p{number}", prompt=f"{number}?", answer=str(number), verifier="exact"))
                              for number in range(40)))
    return path


@pytest.fixture
def settings(model_folder: Path, prompts_file: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a small run in `tmp_path/NAME`; `section__key=value` changes one."""

    def build(name: str = "run", **changes: Any) -> Settings:
        sections = {section: dict(values) for section, values in SMALL.items()}
        sections["model"]["name"] = str(model_folder)
        sections["loop"].update(out=str(tmp_path / name), prompts=str(prompts_file))
        sections["eval"]["prompts"] = str(prompts_file)
        for key, value in changes.items():
            section, _, field = key.partition("__")
            sections.setdefault(section, {})[field] = value
        return Settings.of(sections, {}, {})

    return build


@pytest.fixture
def runs(settings: Callable[..., Settings]) -> Callable[..., Path]:
    """Runs a loop quietly; returns its directory."""

    def do(name: str = "run", *, resume: bool = False, **changes: Any) -> Path:
        wanted = settings(name, **changes)
        with watching(terminal=False, quiet=True, steps=wanted.loop.steps) as watcher:
            run(wanted, watcher, resume=resume)
        return Path(wanted.loop.out)

    return do


UNEQUAL = {"timings.jsonl", "summary.json", "recipe.toml", "lock"}
"""What holds a time, the name of the directory or the id of a process."""


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run that must be equal in two equal runs."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in UNEQUAL}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
