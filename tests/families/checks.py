"""What the product makes of a family, beside what transformers and PEFT themselves say of the same model."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from peft import PeftModel
from tests.families.models import write_family
from tests.families.oracle import forward_logprobs, greedy, load_plain
from tests.models.tiny import load_tiny
from torch import Tensor
from transformers import PreTrainedModel

from sparkcli.config import RolloutConfig, TrainConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.errors import SparkError
from sparkcli.models.policy import Policy, export
from sparkcli.records import Prompt, Rollout, Sampling, Scored, Verdict
from sparkcli.training.batches import MicroBatch, Way
from sparkcli.training.samples import sample_of
from sparkcli.training.step import Trainer

TOLERANCE = 1e-4
"""Of log-probs in float32, whose rounding adds up to some 1e-5 in networks of this depth."""

GRADIENT_TOLERANCE = 1e-3
"""Of gradients, relative to the largest."""

Check = Literal["greedy", "log-probs", "training", "export"]

PROMPTS = ("A quick brown fox jumps over the lazy dog, and", "Ok")
"""One is longer than windows and chunks, one shorter."""

GREEDY = RolloutConfig(samples=1, max_tokens=8, temperature=0.0)
SAMPLED = RolloutConfig(samples=2, max_tokens=8, temperature=1.0, batch_size=3)
TRAINED = TrainConfig(updates=1, lr=0.01, kl=0.0, lora_rank=4, lora_alpha=8, max_grad_norm=0.0)


@dataclass
class Findings:
    """Of one family."""

    family: str
    model_type: str
    """What messages call it."""
    sampling: str | None = None
    """How prompts are run; None: it is not sampled."""
    training: Way | None = None
    """How updates run it; None: it is not trained."""
    refused: dict[Check, str] = field(default_factory=dict)
    """By name, with what to do."""
    wrong: dict[Check, str] = field(default_factory=dict)
    """Numbers that differ, or an exception that is no refusal."""


class WrongError(AssertionError):
    """The product's numbers are not those of transformers or PEFT."""


def examine(family: str, folder: Path) -> Findings:
    """Samples, trains and exports a random model of a family, each beside its oracle."""
    write_family(folder / "model", family)
    plain = load_plain(folder / "model")
    found = Findings(family, plain.config.model_type)
    prompts = [Prompt(id=str(number), prompt=text) for number, text in enumerate(PROMPTS)]
    rollouts: list[Rollout] = []
    with noted(found, "greedy"):
        engine = TransformersEngine(load_tiny(folder / "model"))
        check_greedy(engine, plain, prompts)
    with noted(found, "log-probs"):
        if "greedy" not in found.refused:
            rollouts = check_logprobs(engine, plain, prompts)
            found.sampling = way_of(engine)
    with noted(found, "training"):
        policy = load_tiny(folder / "model")
        trainer = Trainer(policy, TRAINED)
        scored = reward(rollouts or made_up(policy, plain, prompts))
        check_scores(trainer, plain, scored)
        check_step(trainer, scored)
        found.training = trainer.scorer.way
        trainer.save(folder / "policy")
    if (folder / "policy").exists():
        with noted(found, "export"):
            check_export(policy, folder, prompts, scored)
    return found


@contextlib.contextmanager
def noted(found: Findings, check: Check) -> Iterator[None]:
    """Within it a refusal and a fault are noted under a check."""
    try:
        yield
    except SparkError as error:
        found.refused[check] = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it stands in the table of faults
        found.wrong[check] = f"{type(error).__name__}: {error}"


def check_greedy(engine: TransformersEngine, plain: PreTrainedModel, prompts: Sequence[Prompt]) -> None:
    """Greedy tokens are those of `generate`."""
    for group in engine.sample(prompts, GREEDY):
        rollout = answered(group)[0]
        expected = greedy(plain, rollout.prompt_token_ids, GREEDY.max_tokens)
        if list(rollout.token_ids) != expected:
            raise WrongError(f"tokens {list(rollout.token_ids)}, and generate has {expected}")


@torch.no_grad()
def check_logprobs(engine: TransformersEngine, plain: PreTrainedModel, prompts: Sequence[Prompt]) -> list[Rollout]:
    """Sampled log-probs are those of a plain forward pass, at two temperatures; returns the rollouts at 1."""
    rollouts: list[Rollout] = []
    for temperature in (0.7, 1.0):
        config = dataclasses.replace(SAMPLED, temperature=temperature)
        rollouts = [rollout for group in engine.sample(prompts, config) for rollout in answered(group)]
        for rollout in rollouts:
            expected_T = forward_logprobs(plain, rollout.prompt_token_ids, rollout.token_ids, temperature)
            close(torch.tensor(rollout.logprobs), expected_T, f"log-probs at temperature {temperature}")
    return rollouts


def way_of(engine: TransformersEngine) -> str:
    """How an engine that has sampled runs prompts."""
    sampler = engine._sampler
    if sampler._generate is None:
        return "prompts shared"
    return "shared up to its window, then `generate`" if sampler._longest_shared else "`generate`"


def check_scores(trainer: Trainer, plain: PreTrainedModel, scored: Sequence[Scored]) -> None:
    """The trainer's log-probs of its own rollouts are those of a plain forward pass, and so are their gradients."""
    samples = [sample_of(rollout, None) for rollout in scored]
    parts = [[sample for sample in samples if sample.id == id] for id in sorted({sample.id for sample in samples})]
    factors = {id(sample): 1.0 - 0.3 * number for number, sample in enumerate(samples)}
    parameters = [parameter for _, parameter in sorted(trainer.parameters.items())]
    with trainer.scorer.updating():
        batch = MicroBatch(parts)
        scores = trainer.scorer(batch, "none")
        weights_B1 = torch.tensor([factors[id(sample)] for sample in batch.samples])[:, None]
        found = torch.autograd.grad((scores.logprobs_BT * weights_B1).sum(), parameters, allow_unused=True)
    rows = [(sample, scores.logprobs_BT[number, :len(sample.completion_T)].detach())
            for number, sample in enumerate(batch.samples)]
    total = torch.zeros(())
    for sample, logprobs_T in rows:
        expected_T = forward_logprobs(trainer.policy.model, sample.prompt_T, sample.completion_T)
        with torch.no_grad():
            plain_T = forward_logprobs(plain, sample.prompt_T, sample.completion_T)
        close(logprobs_T, plain_T, "the trainer's log-probs")
        total = total + factors[id(sample)] * expected_T.sum()
    expected = torch.autograd.grad(total, parameters, allow_unused=True)
    largest = max(float(gradient.abs().max()) for gradient in expected if gradient is not None)
    for (name, _), ours, theirs in zip(sorted(trainer.parameters.items()), found, expected, strict=True):
        if (ours is None) != (theirs is None) and float((ours if theirs is None else theirs).abs().max()) > 0:
            raise WrongError(f"{name}: has a gradient in one of the two passes only")
        if ours is not None and theirs is not None:
            close(ours / largest, theirs / largest, f"gradient of {name}", GRADIENT_TOLERANCE)


def check_step(trainer: Trainer, scored: Sequence[Scored]) -> None:
    """An update on own rollouts has ratio 1 and a gradient that is finite and not 0."""
    metrics = trainer.step(scored)
    if abs(metrics["ratio"] - 1) > TOLERANCE or abs(metrics["ratio_max"] - 1) > TOLERANCE:
        raise WrongError(f"ratio {metrics['ratio']} (at most {metrics['ratio_max']}) on own rollouts")
    if not 0 < metrics["grad_norm"] < float("inf"):
        raise WrongError(f"grad_norm {metrics['grad_norm']}")


@torch.no_grad()
def check_export(policy: Policy, folder: Path, prompts: Sequence[Prompt], scored: Sequence[Scored]) -> None:
    """The exported folder says what PEFT's model of base and adapter says; the policy samples that too."""
    adapted = PeftModel.from_pretrained(load_plain(folder / "model"), str(folder / "policy")).eval()
    export(folder / "policy", folder / "merged")
    merged = load_plain(folder / "merged")
    moved = torch.zeros(())
    for rollout in scored:
        expected_T = forward_logprobs(adapted, rollout.prompt_token_ids, rollout.token_ids)
        moved = torch.maximum(moved, (expected_T - torch.tensor(rollout.logprobs)).abs().max())
        close(forward_logprobs(merged, rollout.prompt_token_ids, rollout.token_ids), expected_T, "the exported model")
    if moved < 1e-2:
        raise WrongError(f"the update moved log-probs by {float(moved):.1g} only")
    with contextlib.suppress(SparkError):  # a family that cannot be sampled is refused above already
        for group in TransformersEngine(policy).sample(prompts, SAMPLED):
            for rollout in answered(group):
                expected_T = forward_logprobs(adapted, rollout.prompt_token_ids, rollout.token_ids)
                close(torch.tensor(rollout.logprobs), expected_T, "log-probs of the trained policy")


def made_up(policy: Policy, plain: PreTrainedModel, prompts: Sequence[Prompt]) -> list[Rollout]:
    """Rollouts as a right sampler would have drawn them, of a family that is not sampled."""
    generator = torch.Generator().manual_seed(0)
    rollouts = []
    for prompt in prompts:
        prompt_ids = tuple(policy.reader.tokenizer(prompt.prompt)["input_ids"])
        for number in range(SAMPLED.samples):
            ids = tuple(torch.randint(200, (4 + 2 * number,), generator=generator).tolist())
            with torch.no_grad():
                logprobs = tuple(forward_logprobs(plain, prompt_ids, ids).tolist())
            sampling = Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=0, max_tokens=12, engine="made up")
            rollouts.append(Rollout(id=prompt.id, prompt=prompt.prompt, sample=number, samples=SAMPLED.samples,
                                    completion="", prompt_token_ids=prompt_ids, token_ids=ids, logprobs=logprobs,
                                    sampling=sampling, finish_reason="length"))
    return rollouts


def reward(rollouts: Sequence[Rollout]) -> list[Scored]:
    """Rollouts of which every second is right."""
    return [Scored(**{f.name: getattr(rollout, f.name) for f in dataclasses.fields(Rollout)},
                   verdict=Verdict(status="correct" if rollout.sample % 2 else "wrong", verifier="exact"),
                   reward=float(rollout.sample % 2)) for rollout in rollouts]


def answered(group: Sequence[Rollout]) -> Sequence[Rollout]:
    """A group that was sampled."""
    if error := next((rollout.error for rollout in group if rollout.error), None):
        raise WrongError(f"not sampled: {error}")
    return group


def close(found: Tensor, expected: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Raises WrongError with the largest difference, where that is more than the tolerance."""
    difference = float((found - expected).abs().max())
    if not difference <= tolerance:
        raise WrongError(f"{what}: off by {difference:.2g}")
