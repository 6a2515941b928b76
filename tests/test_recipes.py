"""Every recipe in `recipes/` is one that the program reads."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from sparkcli.config import SECTIONS, check_recipe, resolve
from sparkcli.files.recipe import read_recipe

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_resolves_to_what_it_says(path: Path):
    recipe = read_recipe(str(path))
    check_recipe(recipe)
    for section, cls in SECTIONS.items():
        settings = {key: list(value) if isinstance(value, tuple) else value
                    for key, value in dataclasses.asdict(resolve(cls, {}, {}, recipe)).items()}
        said = recipe.get(section, {})
        assert {key: settings[key] for key in said} == said


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_writes_to_its_own_run_directory(path: Path):
    assert tomllib.loads(path.read_text(encoding="utf-8"))["loop"]["out"] == f"runs/{path.stem}"


def test_the_published_models_have_recipes():
    assert {"quickstart", "spark-7b", "spark-vl-7b", "spark-vl-32b"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize(("name", "questions"),
                         [("spark-7b", 25_000), ("spark-vl-7b", 19_000), ("spark-vl-32b", 24_000)])
def test_published_recipes_make_two_passes_with_a_warm_up_of_three_percent(name: str, questions: int):
    recipe = read_recipe(str(FOLDER / f"{name}.toml"))
    steps, prompts, train = recipe["loop"]["steps"], recipe["loop"]["prompts_per_step"], recipe["train"]
    assert steps * prompts == pytest.approx(2 * questions, abs=prompts)
    assert train["warmup_updates"] == pytest.approx(0.03 * steps * train["updates"], abs=1)


@pytest.mark.parametrize(("name", "kind", "version"), [("ddp", "MULTI_GPU", None), ("fsdp2", "FSDP", 2)])
def test_accelerate_reads_its_configurations(name: str, kind: str, version: int | None):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(FOLDER / f"accelerate-{name}.yaml"))
    assert config.distributed_type == kind
    assert config.num_processes % config.num_machines == 0
    assert (config.fsdp_config or {}).get("fsdp_version") == version


def test_the_recipe_of_many_processes_names_files_that_exist():
    named = set(re.findall(r"accelerate-\w+\.yaml", (FOLDER / "multi-node.md").read_text(encoding="utf-8")))
    assert named == {path.name for path in FOLDER.glob("*.yaml")}
