"""Presets, and the averages as what they are: means of means, taken the long way."""

import random
from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest

from sparkcli.config import TrainConfig, field_choices
from sparkcli.errors import InputError
from sparkcli.method.objectives import OBJECTIVES, objective, sample_weights

PUBLISHED = {  # advantage, surrogate, average, bounds of the ratio, groups of equal rewards
    "spark": ("group", "clip", "token", 0.8, 1.2, "drop"),
    "grpo": ("group", "clip", "completion", 0.8, 1.2, "keep"),
    "dr-grpo": ("mean", "clip", "constant", 0.8, 1.2, "keep"),
    "rloo": ("leave-one-out", "clip-product", "completion", 0.8, 1.2, "keep"),
    "reinforce++": ("batch", "clip", "token", 0.8, 1.2, "keep"),
    "dapo": ("group", "clip", "token", 0.8, 1.28, "drop"),
    "bnpo": ("group", "clip", "group", 0.8, 1.2, "keep"),
    "gspo": ("group", "clip-sequence", "completion", 0.9997, 1.0004, "keep"),
    "cispo": ("group", "cispo", "token", 0.0, 5.0, "drop"),
}

LENGTHS = [[3, 1, 7], [2], [5, 5]]
LIMITS = [[8, 8, 8], [16], [8, 8]]
Tokens = list[list[list[float]]]
"""A loss for each token of each completion of each group."""


def test_every_loss_that_can_be_chosen_is_there_and_no_other() -> None:
    assert set(OBJECTIVES) == set(field_choices(TrainConfig, "loss")) == set(PUBLISHED)


@pytest.mark.parametrize("part", ["advantage", "average", "constant_groups"])
def test_every_part_of_a_preset_can_be_chosen_by_itself(part: str) -> None:
    assert {getattr(preset, part) for preset in OBJECTIVES.values()} <= set(field_choices(TrainConfig, part))


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_parts(name: Any) -> None:
    preset = objective(TrainConfig(loss=name))
    assert (preset.advantage, preset.surrogate, preset.average, pytest.approx(1 - preset.clip),
            pytest.approx(1 + preset.clip_high), preset.constant_groups) == PUBLISHED[name]


def test_the_default_is_spark() -> None:
    assert objective(TrainConfig()) == OBJECTIVES["spark"]


def test_a_part_that_is_set_takes_the_place_of_the_presets() -> None:
    config = TrainConfig(loss="gspo", advantage="mean", average="token", clip=0.1, clip_high=0.3,
                         constant_groups="drop")
    changed = objective(config)
    assert (changed.advantage, changed.average, changed.clip, changed.clip_high, changed.constant_groups) == (
        "mean", "token", 0.1, 0.3, "drop")
    assert changed.surrogate == "clip-sequence" and changed.about == OBJECTIVES["gspo"].about


@pytest.mark.parametrize(("given", "bounds"), [
    ({}, (0.2, 0.28)), ({"clip": 0.1}, (0.1, 0.1)), ({"clip_high": 0.5}, (0.2, 0.5)),
    ({"clip": 0.0, "clip_high": 0.0}, (0.0, 0.0))])
def test_a_given_clip_holds_upwards_too(given: dict[str, float], bounds: tuple[float, float]) -> None:
    changed = objective(TrainConfig(loss="dapo", **given))  # type: ignore[arg-type]
    assert (changed.clip, changed.clip_high) == bounds


AVERAGES: dict[str, Callable[[Tokens], float]] = {
    "token": lambda losses: fmean(loss for part in losses for tokens in part for loss in tokens),
    "group": lambda losses: fmean(fmean(loss for tokens in part for loss in tokens) for part in losses),
    "completion": lambda losses: fmean(fmean(tokens) for part in losses for tokens in part),
    "constant": lambda losses: fmean(sum(tokens) / limit for part, limits in zip(losses, LIMITS, strict=True)
                                     for tokens, limit in zip(part, limits, strict=True)),
}


@pytest.mark.parametrize("average", AVERAGES)
def test_weighted_sums_are_the_means(average: Any) -> None:
    draw = random.Random(0)
    losses = [[[draw.uniform(-1, 1) for _ in range(length)] for length in part] for part in LENGTHS]
    weights = sample_weights(LENGTHS, LIMITS, average)
    weighed = sum(weight * loss for part, ws in zip(losses, weights, strict=True)
                  for tokens, weight in zip(part, ws, strict=True) for loss in tokens)
    assert weighed == pytest.approx(AVERAGES[average](losses), rel=1e-12)


@pytest.mark.parametrize("average", AVERAGES)
def test_no_samples_have_no_weights(average: Any) -> None:
    assert sample_weights([], [], average) == []


def test_a_mean_over_the_limit_needs_it() -> None:
    with pytest.raises(InputError, match=r"max_tokens: expected .* --average token"):
        sample_weights([[3, 4]], [[8, None]], "constant")
    assert sample_weights([[3, 4]], [[8, None]], "token") == [[1 / 7, 1 / 7]]
