"""`sparkcli.training.step.Trainer` on stored rollouts."""

from typing import Any

from inputs.rollouts import Group, read_rollouts
from safetensors.torch import save_file
from sides.job import Job
from sides.meter import Meter
from sides.tower import Tower
from torch import Tensor

from sparkcli.config import ModelConfig, TrainConfig
from sparkcli.models.policy import load, reference
from sparkcli.records import Sampling, Scored, Verdict
from sparkcli.training.step import Trainer


def run(job: Job) -> dict[str, Any]:
    """The steps' figures. Inside the clock is `Trainer.step`: from records to changed and checked weights."""
    groups = read_rollouts(job.rollouts)
    trainer = new_trainer(job, groups)
    scored = records(groups, trainer.policy.fingerprint)
    before = trained(trainer) if job.change else {}
    if job.method == "full":
        with reference(trainer.policy):
            pass  # loaded at the first use, which shall not fall into the step
    meter, reports, tower = Meter(job.device, job.trace), [], Tower(trainer.policy.network)
    for number in range(job.steps):
        meter.begin()
        metrics = trainer.step(scored)
        meter.end()
        reports.append({"loss": metrics["loss"], "grad_norm": metrics["grad_norm"],
                        "micro_batches": metrics["micro_batches"], "parts": metrics["seconds"], **tower.taken()})
        if job.change and number == 0:
            save_file({name: tensor - before[name] for name, tensor in trained(trainer).items()}, job.change)
    return {"steps": [{**measured, **report} for measured, report in zip(meter.steps, reports, strict=True)],
            "operators": operators(meter) if job.trace else "", "device": meter.name}


def draw_adapter(job: Job) -> None:
    """Writes the adapter that `run` starts from."""
    trainer = new_trainer(job, read_rollouts(job.rollouts))
    save_file(trained(trainer), job.adapter)


def new_trainer(job: Job, groups: list[Group]) -> Trainer:
    """A trainer whose micro-batches hold one group each."""
    budget = max(len(group.prompt) + len(group.completions) * max(map(len, group.completions)) +
                 job.train_vision * group.patches for group in groups)
    config = TrainConfig(method=job.method, lora_rank=job.rank, lora_alpha=2 * job.rank, lr=job.rate, updates=1,  # type: ignore[arg-type]
                         kl=job.kl, tokens_per_batch=budget, average="group" if job.by_group else "token",
                         gradient_checkpointing=job.checkpointing, train_vision=job.train_vision)
    policy = load(ModelConfig(name=str(job.model), device=job.device, dtype=job.dtype))  # type: ignore[arg-type]
    return Trainer(policy, config)


def trained(trainer: Trainer) -> dict[str, Tensor]:
    """Copies of the weights that are trained, in float32 on the CPU; of 16-bit ones their float32 masters."""
    state = trainer.optimizer.tensors()
    return {name: state.get(f"{name}.master", parameter).detach().float().cpu().clone()
            for name, parameter in trainer.parameters.items()}


def records(groups: list[Group], policy: str) -> list[Scored]:
    """The stored rollouts as `verify` writes them."""
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=0, max_tokens=4096, engine="made up")
    shown = [group.record(str(number)) for number, group in enumerate(groups)]
    return [Scored(id=prompt.id, prompt=prompt.prompt, images=prompt.images, sample=sample,
                   samples=len(group.completions), completion="",
                   prompt_token_ids=tuple(group.prompt), token_ids=tuple(completion),
                   logprobs=tuple(group.logprobs[sample]), policy=policy, sampling=sampling,
                   verdict=Verdict(status="correct" if group.rewards[sample] else "wrong", verifier="made up"),
                   reward=group.rewards[sample])
            for prompt, group in zip(shown, groups, strict=True) for sample, completion in enumerate(group.completions)]


def operators(meter: Meter) -> str:
    """The operators that took longest, as a table."""
    clock = "self_device_time_total" if meter.on_cuda else "self_cpu_time_total"
    table: str = meter.profiler.key_averages().table(sort_by=clock, row_limit=15, max_name_column_width=48)
    return table
