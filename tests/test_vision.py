"""Real images through the pipeline, as a shell runs it, with the built-in vision model."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.test_pipes import sh

SOURCES = {"mathvision": ("mathvision/testmini.jsonl", 120), "logicvista": ("logicvista/dataset.json", 60)}
"""File, and how many rows have their image here."""


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_only_too_long(rollouts: list[dict[str, Any]]) -> None:
    """Prompts longer than the small model's context are refused by name; nothing else is wrong with any."""
    errors = [r["error"] for r in rollouts if "error" in r]
    assert all("tokens leave no room in the model's context" in error for error in errors), errors
    assert len(errors) < 0.1 * len(rollouts)


@pytest.fixture(scope="module", params=SOURCES)
def work(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each stage wrote."""
    folder = tmp_path_factory.mktemp(request.param)
    file, count = SOURCES[request.param]
    model = "-m builtin:tiny-vision --max-tokens 16 -n 2"
    ran = sh(f"set -e -o pipefail\n"
             f"sparkcli prepare {shared_data / file} --on-error skip -o prompts.jsonl 2> prepare.log\n"
             f"sparkcli rollout prompts.jsonl {model} > rollouts.jsonl\n"
             f"sparkcli verify rollouts.jsonl > scored.jsonl\n"
             f"sparkcli recycle scored.jsonl > recycled.jsonl\n"
             f"sparkcli rollout recycled.jsonl {model} | sparkcli verify > again.jsonl\n"
             f"sparkcli report scored.jsonl -o page.html\n", folder)
    assert ran.returncode == 0, ran.stderr
    (folder / "count").write_text(str(count))
    return folder


@pytest.mark.slow
def test_every_real_image_reaches_the_model(work: Path):
    prompts, rollouts = rows(work / "prompts.jsonl"), rows(work / "rollouts.jsonl")
    assert len(prompts) == int((work / "count").read_text())
    assert list(dict.fromkeys(r["id"] for r in rollouts)) == [p["id"] for p in prompts]
    assert_only_too_long(rollouts)


@pytest.mark.slow
def test_recycled_prompts_carry_the_images_and_can_be_sampled(work: Path):
    images = {p["id"]: p["images"] for p in rows(work / "prompts.jsonl")}
    recycled, again = rows(work / "recycled.jsonl"), rows(work / "again.jsonl")
    assert recycled and {p["task"] for p in recycled} >= {"judge", "reflect"}
    assert all([Path(i).name for i in p["images"]] == [Path(i).name for i in images[p["source"][0]["id"]]]
               for p in recycled)
    assert_only_too_long(again)


@pytest.mark.slow
def test_the_page_shows_them(work: Path):
    page = (work / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= int((work / "count").read_text())
