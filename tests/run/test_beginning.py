"""Which engine a run samples with, and that it stays with it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sparkcli.errors import UsageError
from sparkcli.files.recipe import read_recipe, write_recipe
from sparkcli.run.beginning import begin
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder

Runs = Callable[..., Path]
Build = Callable[..., Settings]
SERVER = {"server__base_url": ["http://127.0.0.1:9/v1"], "server__sync_adapters": True}


def begun(settings: Settings) -> tuple[str, str | None]:
    """The engine that the run in the settings' directory begins or goes on with, and what people are told."""
    found, _, why = begin(RunFolder(Path(settings.loop.out)), settings, resume=True)
    return found.model.engine, why


def test_what_auto_takes_is_told(settings: Build) -> None:
    engine, why = begun(settings(model__engine="auto"))
    assert (engine, (why or "").partition(";")[0]) == ("transformers", "on cpu")
    assert begun(settings(model__engine="auto", **SERVER)) == ("openai", "a server is given: http://127.0.0.1:9/v1")


def test_what_was_asked_for_by_name_is_not(settings: Build) -> None:
    assert begun(settings(model__engine="vllm")) == ("vllm", None)


def test_a_run_records_its_engine_by_name(runs: Runs) -> None:
    folder = runs(model__engine="auto", loop__steps=1, eval__prompts="", rollout__max_tokens=4)
    assert read_recipe(str(folder / "recipe.toml"))["model"]["engine"] == "transformers"


def recorded(settings: Build, **changes: object) -> None:
    """Makes the directory a run that these settings began."""
    made = settings(**changes)
    Path(made.loop.out).mkdir()
    RunFolder(Path(made.loop.out)).recipe.write_text(write_recipe(made.sections()))


def test_auto_stays_with_the_engine_that_a_run_began_with(settings: Build) -> None:
    recorded(settings, model__engine="vllm")
    assert begun(settings(model__engine="auto")) == ("vllm", "as until now")
    assert begun(settings(model__engine="vllm")) == ("vllm", None)


def test_a_run_can_go_on_with_another_engine_which_is_told(settings: Build) -> None:
    recorded(settings, model__engine="vllm")
    assert begun(settings(model__engine="transformers")) == ("transformers", "as asked; until now vllm")
    engine, why = begun(settings(model__engine="auto", **SERVER))
    assert (engine, why) == ("openai", "a server is given: http://127.0.0.1:9/v1; until now vllm")


@pytest.mark.parametrize(("before", "after"), [
    ({"model__engine": "scripted"}, {"model__engine": "transformers"}),
    ({"model__engine": "scripted"}, {"model__engine": "auto", **SERVER}),
    ({"model__engine": "transformers"}, {"model__engine": "scripted"}),
])
def test_samples_that_were_made_up_are_no_beginning_of_a_real_run(
        settings: Build, before: dict[str, object], after: dict[str, object]) -> None:
    recorded(settings, **before)
    with pytest.raises(UsageError, match=r"--resume with other settings: model\.engine is '\w+', was '\w+'"):
        begun(settings(**after))


def test_a_server_that_is_not_to_load_the_policies_is_refused_before_any_work(settings: Build) -> None:
    with pytest.raises(UsageError, match=r"server\.sync_adapters = true"):
        begun(settings(model__engine="auto", server__base_url=SERVER["server__base_url"]))


def test_a_run_at_a_server_needs_one_when_it_goes_on(settings: Build, runs: Runs) -> None:
    recorded(settings, model__engine="openai", **SERVER)
    with pytest.raises(UsageError, match="--engine openai needs a server"):
        runs(resume=True, model__engine="auto", server__sync_adapters=True)
