"""Settings: one place, four sources, clear refusals."""

import dataclasses

import pytest

from sparkcli.config import SECTIONS, JudgeConfig, RecycleConfig, RolloutConfig, TrainConfig, flag_names, resolve
from sparkcli.errors import UsageError


def test_a_flag_beats_the_environment_beats_the_recipe_beats_the_default() -> None:
    recipe = {"train": {"lr": 1e-3, "clip": 0.1, "kl": 0.5}}
    environ = {"SPARKCLI_TRAIN_LR": "1e-4", "SPARKCLI_TRAIN_CLIP": "0.3"}
    config = resolve(TrainConfig, {"lr": 1e-5}, environ, recipe)
    assert (config.lr, config.clip, config.kl, config.beta2) == (1e-5, 0.3, 0.5, 0.95)


@pytest.mark.parametrize(("recipe", "message"), [
    ({"trian": {}}, "recipe: unknown section [trian]; did you mean 'train'?"),
    ({"train": {"lrr": 1}}, "recipe: train.lrr: unknown key; did you mean 'lr'?"),
    ({"train": {"lr": "fast"}}, "recipe: train.lr: expected float, found 'fast'"),
    ({"train": {"clip": -1}}, "recipe: train.clip: -1.0 is out of bounds; expected at least 0"),
    ({"train": {"beta1": 2.0}}, "recipe: train.beta1: 2.0 is out of bounds; expected 0 to 1"),
    ({"train": {"method": "lroa"}}, "recipe: train.method: 'lroa' is not one of lora, full"),
    ({"train": {"updates": True}}, "recipe: train.updates: expected int, found True"),
    ({"train": 3}, "recipe: train: expected a section [train], found a value"),
])
def test_a_bad_recipe_is_refused_with_what_would_be_right(recipe: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve(TrainConfig, {}, {}, recipe)
    assert str(raised.value) == message


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(UsageError, match="SPARKCLI_RECYCLE_BALANCE: expected bool, found 'maybe'"):
        resolve(RecycleConfig, {}, {"SPARKCLI_RECYCLE_BALANCE": "maybe"}, {})


def test_a_limit_can_be_taken_off() -> None:
    recipe = {"recycle": {"max_judge": 16}}
    assert resolve(RecycleConfig, {}, {"SPARKCLI_RECYCLE_MAX_JUDGE": "none"}, recipe).max_judge is None


def test_judges_sample_like_rollouts_but_greedily() -> None:
    drawing = JudgeConfig(max_tokens=32, seed=5).drawing(2)
    assert drawing == RolloutConfig(samples=2, temperature=0.0, max_tokens=32, seed=5)


@pytest.mark.parametrize("cls", SECTIONS.values(), ids=SECTIONS)
def test_every_setting_has_a_help_text_and_a_default_within_its_own_bounds(cls: type) -> None:
    for field in dataclasses.fields(cls):
        assert field.metadata["help"]
        assert flag_names(field)[-1].startswith("--")
    given = {f.name: list(f.default) if isinstance(f.default, tuple) else f.default
             for f in dataclasses.fields(cls) if f.default is not None}
    assert resolve(cls, {}, {}, {cls.section: given}) == cls()


@pytest.mark.parametrize(("flags", "environ", "recipe"), [
    ({"vllm": ["enforce_eager=true", "max_model_len=256", "kv_cache_dtype=fp8", "sizes=[1, 2]"]}, {}, {}),
    ({}, {"SPARKCLI_ROLLOUT_VLLM": '{"enforce_eager": true, "max_model_len": 256, "kv_cache_dtype": "fp8", '
                                   '"sizes": [1, 2]}'}, {}),
    ({}, {}, {"rollout": {"vllm": {"enforce_eager": True, "max_model_len": 256, "kv_cache_dtype": "fp8",
                                   "sizes": [1, 2]}}}),
])
def test_a_mapping_comes_as_pairs_as_json_or_as_a_table(
        flags: dict[str, object], environ: dict[str, str], recipe: dict[str, object]) -> None:
    assert resolve(RolloutConfig, flags, environ, recipe).vllm == {
        "enforce_eager": True, "max_model_len": 256, "kv_cache_dtype": "fp8", "sizes": [1, 2]}


def test_a_value_in_a_pair_may_hold_what_separates_pairs() -> None:
    pairs = ["a=b=c", "empty=", "d={\"e\": 1}", "f=1e-3", "g=TRUE", "a=last"]
    assert resolve(RolloutConfig, {"vllm": pairs}, {}, {}).vllm == {
        "a": "last", "empty": "", "d": {"e": 1}, "f": 1e-3, "g": "TRUE"}


@pytest.mark.parametrize(("flags", "environ", "recipe", "message"), [
    ({"vllm": ["eager"]}, {}, {}, "--vllm: expected KEY=VALUE or a JSON object, found 'eager'"),
    ({"vllm": ["=1"]}, {}, {}, "--vllm: expected KEY=VALUE or a JSON object, found '=1'"),
    ({}, {"SPARKCLI_ROLLOUT_VLLM": "a=1"}, {}, "SPARKCLI_ROLLOUT_VLLM: expected dict, found 'a=1'"),
    ({}, {"SPARKCLI_ROLLOUT_VLLM": "[1]"}, {}, "SPARKCLI_ROLLOUT_VLLM: expected dict, found [1]"),
    ({}, {}, {"rollout": {"vllm": 3}}, "recipe: rollout.vllm: expected dict, found 3"),
])
def test_a_bad_mapping_is_refused(flags: dict[str, object], environ: dict[str, str], recipe: dict[str, object],
                                  message: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve(RolloutConfig, flags, environ, recipe)
    assert str(raised.value) == message
