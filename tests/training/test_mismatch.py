"""Importance weights and the probe, against references in plain float64 and TRL's formula."""

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.logprobs import completion_logprobs
from torch import Tensor

from sparkcli.builtin.tiny_math.task import problems
from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines import open_engine
from sparkcli.models.policy import Policy, load
from sparkcli.records import Prompt, Rollout
from sparkcli.training.mismatch import QUANTILES, correction_weights, hints, probe
from sparkcli.training.samples import Sample

KINDS, LEVELS = ("truncate", "mask"), ("token", "sequence")
LIMITS = {"clip": 0.2, "clip_high": 0.28, "cap": 2.0}


def logprobs(seed: int, length: int, distance: float) -> tuple[list[float], list[float]]:
    """Log-probs under the parent and as recorded, `distance` apart (standard deviation)."""
    draw = random.Random(seed)
    recorded = [-draw.expovariate(1.0) for _ in range(length)]
    return [value + draw.gauss(0, distance) for value in recorded], recorded


def weights_by_formula(parent: Sequence[float], recorded: Sequence[float], kind: str, level: str,
                       cap: float) -> list[float]:
    """`min(r, C)` or `r [r ≤ C]`, with r of each token or the product over all of them."""
    ratios = [math.exp(p - q) for p, q in zip(parent, recorded, strict=True)]
    if level == "sequence":
        ratios = [math.prod(ratios)] * len(ratios)
    return [min(r, cap) if kind == "truncate" else r * (r <= cap) for r in ratios]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_weights_are_those_of_the_formula(kind: Any, level: Any, seed: int) -> None:
    parent, recorded = logprobs(seed, 1 + 4 * seed, distance=0.5)
    found = correction_weights(torch.tensor(parent, dtype=torch.float64), torch.tensor(recorded, dtype=torch.float64),
                               kind, level, cap=1.5)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(weights_by_formula(parent, recorded, kind, level, 1.5), rel=1e-6)


def weights_by_trl(parent_BT: Tensor, recorded_BT: Tensor, mask_BT: Tensor, mode: str, high: float) -> Tensor:
    """What TRL 1.16 multiplies its loss by with `vllm_importance_sampling_mode` and `…_clip_max`, no lower bound."""
    difference_BT = (parent_BT - recorded_BT) * mask_BT
    if mode.startswith("sequence"):
        difference_BT = difference_BT.sum(-1, keepdim=True)
    ratio_BT = difference_BT.exp()
    if mode.endswith("truncate"):
        return ratio_BT.clamp(max=high).expand_as(mask_BT)
    return ratio_BT.masked_fill(ratio_BT > high, 0.0).expand_as(mask_BT)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_trls_on_a_padded_batch(kind: Any, level: Any) -> None:
    rows = [[torch.tensor(values) for values in logprobs(n, length, 0.4)] for n, length in enumerate((5, 1, 12, 30))]
    parent_BT, recorded_BT = (torch.nn.utils.rnn.pad_sequence(side, batch_first=True)
                              for side in zip(*rows, strict=True))
    mask_BT = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row[0])) for row in rows], batch_first=True)
    theirs_BT = weights_by_trl(parent_BT, recorded_BT, mask_BT, f"{level}_{kind}", 1.3)
    for (parent_T, recorded_T), theirs_T in zip(rows, theirs_BT, strict=True):
        ours_T = correction_weights(parent_T, recorded_T, kind, level, 1.3)
        torch.testing.assert_close(ours_T, theirs_T[:len(ours_T)], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("difference", "truncated", "masked"),
                         [(1e4, 3.0, 0.0), (-1e4, 0.0, 0.0), (1e30, 3.0, 0.0), (0.0, 1.0, 1.0)])
@pytest.mark.parametrize("level", LEVELS)
def test_nothing_overflows(level: Any, difference: float, truncated: float, masked: float) -> None:
    parent_T, recorded_T = torch.full((9,), -1.0), torch.full((9,), -1.0) - difference
    for kind, expected in zip(KINDS, (truncated, masked), strict=True):
        found = correction_weights(parent_T, recorded_T, kind, level, cap=3.0)  # type: ignore[arg-type]
        assert found.tolist() == [expected] * 9


def test_nan_stays_nan_so_that_somebody_notices() -> None:
    parent_T = torch.tensor([-1.0, math.nan])
    for kind in KINDS:
        assert correction_weights(parent_T, torch.tensor([-1.0, -1.0]), kind, "token", 3.0)[1].isnan()  # type: ignore[arg-type]


def some_samples(count: int, distance: float = 0.3) -> tuple[list[Sample], list[Tensor]]:
    """Every third of another policy, every second of another task."""
    samples, parents = [], []
    for n in range(count):
        parent, recorded = logprobs(n, 1 + n % 7, distance)
        samples.append(Sample(id=f"p{n // 4}", number=n % 4, task=("solve", "judge")[n % 2], prompt_T=(1, 2),
                              completion_T=tuple(range(len(parent))), logprobs_T=tuple(recorded), temperature=1.0,
                              reward=0.0, stale=n % 3 == 0))
        parents.append(torch.tensor(parent, dtype=torch.float64))
    return samples, parents


def figures_by_formula(samples: Sequence[Sample], parents: Sequence[Tensor]) -> dict[str, Any]:
    """The report's figures from their definitions, a token at a time."""
    logs = [[p - q for p, q in zip(parent_T.tolist(), sample.logprobs_T, strict=True)]
            for sample, parent_T in zip(samples, parents, strict=True)]
    flat = [value for row in logs for value in row]
    ratios = sorted(map(math.exp, flat))
    rarity = [-value for sample in samples for value in sample.logprobs_T]
    mean = {name: math.fsum(row) / len(row) for name, row in (("log", flat), ("rarity", rarity))}
    moved, rare = [v - mean["log"] for v in flat], [v - mean["rarity"] for v in rarity]
    return {"samples": len(samples), "tokens": len(flat),
            "ratio": {"mean": math.fsum(ratios) / len(ratios),
                      **{name: ratios[round(share * (len(ratios) - 1))] for name, share in QUANTILES.items()}},
            "kl": {"k1": -mean["log"], "k3": math.fsum(math.exp(v) - 1 - v for v in flat) / len(flat)},
            "trend": dot(moved, rare) / math.sqrt(dot(moved, moved) * dot(rare, rare)),
            "outside_clip": sum(not 0.8 <= r <= 1.28 for r in ratios) / len(ratios),
            "above_cap": {"token": sum(r > 2 for r in ratios) / len(ratios),
                          "sequence": sum(math.exp(math.fsum(row)) > 2 for row in logs) / len(logs)}}


def dot(first: Sequence[float], second: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(first, second, strict=True))


def assert_near(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_near(found[name], value)
        else:
            assert found[name] == pytest.approx(value, rel=1e-9), name


def test_a_report_is_what_its_definitions_say() -> None:
    samples, parents = some_samples(40)
    report = probe(samples, parents, **LIMITS)
    assert_near(report, figures_by_formula(samples, parents))
    for part, chosen in ((report["by_policy"]["stale"], [s.stale for s in samples]),
                         (report["by_policy"]["fresh"], [not s.stale for s in samples]),
                         (report["by_task"]["judge"], [s.task == "judge" for s in samples]),
                         (report["by_task"]["solve"], [s.task == "solve" for s in samples])):
        taken = [i for i, is_chosen in enumerate(chosen) if is_chosen]
        assert_near(part, figures_by_formula([samples[i] for i in taken], [parents[i] for i in taken]))
    assert 0 < report["above_cap"]["token"] < report["above_cap"]["sequence"] < 1
    json.dumps(report, allow_nan=False)


def test_the_worst_samples_are_named_with_the_token() -> None:
    samples, parents = some_samples(12, distance=0.0)
    parents[7][0] += 2.0
    parents[5][3] -= 3.0
    first, second, third = probe(samples, parents, **LIMITS)["worst"][:3]
    assert (first["id"], first["sample"], first["token"], first["stale"]) == ("p1", 1, 3, False)
    assert (second["id"], second["sample"], second["token"], second["task"]) == ("p1", 3, 0, "judge")
    assert [first["token_log_ratio"], second["sequence_log_ratio"]] == pytest.approx([-3, 2])
    assert third["token_log_ratio"] == 0


def test_an_impossible_record_does_not_hide_the_others() -> None:
    """A recorded log-prob of −1e30 has no ratio in float64: null, not infinity, which JSON cannot say."""
    samples, parents = some_samples(8)
    samples[3] = dataclasses.replace(samples[3], logprobs_T=(-1e30, *samples[3].logprobs_T[1:]))
    report = probe(samples, parents, **LIMITS)
    assert report["ratio"]["max"] is None and report["ratio"]["median"] == pytest.approx(1, abs=0.5)
    assert (report["worst"][0]["id"], report["worst"][0]["sample"]) == ("p0", 3)
    json.dumps(report, allow_nan=False)
    assert len(hints(report)) >= 1


def test_no_token_no_figures() -> None:
    empty = Sample(id="e", number=0, task="solve", prompt_T=(1,), completion_T=(), logprobs_T=(), temperature=1.0,
                   reward=1.0)
    for samples, parents in (([], []), ([empty], [torch.zeros(0)])):
        report = probe(samples, parents, **LIMITS)
        assert report == {"samples": 0, "tokens": 0, "by_policy": {}, "by_task": {}, "worst": []}
        assert hints(report) == []


# The real engine, and what its users do to it.


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load(ModelConfig(name="builtin:tiny-math", device="cpu"))


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return list(problems("train", seed=0, limit=12))


def sampled(policy: Policy, prompts: Sequence[Prompt], **settings: Any) -> list[Rollout]:
    engine = open_engine(ModelConfig(name="builtin:tiny-math", device="cpu"), policy=policy)
    config = RolloutConfig(samples=4, max_tokens=48, **settings)
    return [rollout for group in engine.sample(prompts, config) for rollout in group]


def report_of(policy: Policy, rollouts: Sequence[Rollout], temperature: float) -> dict[str, Any]:
    samples, parents = [], []
    for rollout in rollouts:
        assert rollout.prompt_token_ids and rollout.token_ids and rollout.logprobs
        with torch.no_grad():
            parent_1T, _ = completion_logprobs(policy.model, [rollout.prompt_token_ids], [[rollout.token_ids]],
                                               temperature)
        samples.append(Sample(id=rollout.id, number=rollout.sample, task=rollout.task,
                              prompt_T=rollout.prompt_token_ids, completion_T=rollout.token_ids,
                              logprobs_T=rollout.logprobs, temperature=temperature, reward=0.0))
        parents.append(parent_1T[0])
    return probe(samples, parents, clip=0.2, clip_high=0.2, cap=3.0)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_the_transformers_engine_and_its_own_policy_agree(policy: Policy, prompts: list[Prompt],
                                                          temperature: float) -> None:
    report = report_of(policy, sampled(policy, prompts, temperature=temperature), temperature)
    assert report["tokens"] > 500
    assert [report["ratio"]["min"], report["ratio"]["max"]] == pytest.approx([1, 1], abs=1e-4)
    assert report["kl"]["k3"] < 1e-9
    assert hints(report) == []


@pytest.mark.parametrize(("sampler", "trainer", "side"), [(0.7, 1.0, "lower"), (1.0, 0.7, "higher")])
def test_another_temperature_is_recognised(policy: Policy, prompts: list[Prompt], sampler: float, trainer: float,
                                           side: str) -> None:
    (hint,) = hints(report_of(policy, sampled(policy, prompts, temperature=sampler), trainer))
    assert f"the temperature behind the log-probs was {side}" in hint


def test_top_p_is_recognised(policy: Policy, prompts: list[Prompt]) -> None:
    report = report_of(policy, sampled(policy, prompts, top_p=0.9), 1.0)
    assert 0.9 < report["ratio"]["mean"] < 0.999
    (hint,) = hints(report)
    assert hint.startswith("no ratio is above 1") and "top-p" in hint


def test_a_sampler_in_bfloat16_is_ordinary_noise(policy: Policy, prompts: list[Prompt]) -> None:
    rough = load(ModelConfig(name="builtin:tiny-math", device="cpu", dtype="bfloat16"))
    report = report_of(policy, sampled(rough, prompts), 1.0)
    assert report["ratio"]["max"] > 1.01
    assert report["ratio"]["mean"] == pytest.approx(1, abs=2e-3)
    assert hints(report) == []


def test_other_weights_scatter(policy: Policy, prompts: list[Prompt]) -> None:
    other = load(ModelConfig(name="builtin:tiny-math", device="cpu"))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in other.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.03 * float(parameter.std()))
    (hint,) = hints(report_of(policy, sampled(other, prompts), 1.0))
    assert "scatter without a trend" in hint


def test_noise_that_adds_up_over_long_completions_is_told() -> None:
    samples, parents = [], []
    for n in range(20):
        parent, recorded = logprobs(n, 2000, 0.1)
        samples.append(Sample(id=str(n), number=0, task="solve", prompt_T=(1,), completion_T=(2,) * 2000,
                              logprobs_T=tuple(recorded), temperature=1.0, reward=0.0, stale=n < 5))
        parents.append(torch.tensor(parent))
    told = hints(probe(samples, parents, clip=0.2, clip_high=0.2, cap=3.0))
    assert told[0] == "5 of 20 samples are of another policy; training on them needs --allow-stale"
    assert "use --correction-level token" in told[-1]
