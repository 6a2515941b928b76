"""TRL's GRPOTrainer on stored rollouts: its hook for own generation returns them, everything else is TRL's own."""

import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import trl.trainer.utils
from datasets import Dataset, Image, List, disable_progress_bars
from inputs.rollouts import Group, read_rollouts
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from sides.job import Job
from sides.meter import Meter
from sides.tower import Tower
from torch import Tensor
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl import GRPOConfig, GRPOTrainer

from sparkcli.config import ModelConfig
from sparkcli.models.reader import load_reader
from sparkcli.models.tower import vision_parameters


class Watch(TrainerCallback):
    """Measures each update, from its first micro-batch to the zeroed gradients; keeps what the first changed."""

    def __init__(self, meter: Meter, change: Path | None) -> None:
        self.meter, self.change = meter, change
        self.start: dict[str, Tensor] = {}
        self.tower: Tower | None = None
        self.towers: list[dict[str, float]] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        if self.change and not self.start:
            self.start = trained(objects["model"])
        self.tower = self.tower or Tower(objects["model"])
        self.meter.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        self.meter.end()
        assert self.tower
        self.towers.append(self.tower.taken())
        if self.change and len(self.meter.steps) == 1:
            save_file({name: tensor - self.start[name] for name, tensor in trained(objects["model"]).items()},
                      self.change)


def run(job: Job) -> dict[str, Any]:
    """The steps' figures. Inside the clock: decoding and scoring of rollouts, reference, loss, backward, AdamW."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    disable_progress_bars()
    warnings.filterwarnings("ignore")
    if job.tile:
        trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE = job.tile
    groups = read_rollouts(job.rollouts)
    meter = Meter(job.device, job.trace)
    watch = Watch(meter, job.change)
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=str(job.model), args=settings(job, len(groups), folder), reward_funcs=stored_reward,
            train_dataset=questions(groups), processing_class=reading(job), rollout_func=replay(groups),
            peft_config=adapter(job) if job.method == "lora" else None, callbacks=[watch])
        if job.method == "full" and not job.train_vision:
            for parameter in vision_parameters(trainer.model).values():
                parameter.requires_grad_(False)
        if job.method == "lora":
            put_adapter(trainer.model, load_file(job.adapter))
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {"steps": [{**measured, **tower, "loss": entry["loss"], "grad_norm": entry["grad_norm"]}
                      for measured, tower, entry in zip(meter.steps, watch.towers, logged, strict=True)]}


def questions(groups: list[Group]) -> Dataset:
    """Prompts that name their group: by its number, or by the text that goes with an image."""
    if not groups[0].image:
        return Dataset.from_dict({"prompt": [str(number) for number in range(len(groups))]})
    rows = {"prompt": [[{"role": "user", "content": group.text}] for group in groups],
            "images": [[group.image] for group in groups]}
    return Dataset.from_dict(rows).cast_column("images", List(Image()))


def reading(job: Job) -> Any:
    """The tokenizer, or the processor; ours loads Qwen's without torchvision."""
    if not job.vision:
        return AutoTokenizer.from_pretrained(job.model)
    return load_reader(job.model, ModelConfig(name=str(job.model))).processor


def settings(job: Job, groups: int, folder: str) -> GRPOConfig:
    """Ours in TRL's words: 8 sequences a micro-batch, one update over all groups, AdamW as we set it.

    With `by_group` a generation batch is one group, which is then one micro-batch. Without it is TRL's default: all
    groups together, their samples shuffled over the micro-batches, padded to the longest of all.
    """
    mixed = job.dtype == "bfloat16"
    return GRPOConfig(
        output_dir=folder, model_init_kwargs={"dtype": "float32" if mixed and job.method == "full" else job.dtype},
        bf16=mixed, use_cpu=job.device == "cpu", per_device_train_batch_size=8, num_generations=8,
        gradient_accumulation_steps=groups, steps_per_generation=1 if job.by_group else groups, max_steps=job.steps,
        shuffle_dataset=False, loss_type="dapo", epsilon=0.2, epsilon_high=0.2, beta=job.kl,
        use_bias_correction_kl=False, scale_rewards="group", temperature=1.0, learning_rate=job.rate,
        lr_scheduler_type="constant", warmup_steps=0, adam_beta1=0.9, adam_beta2=0.95, adam_epsilon=1e-8,
        weight_decay=0.0, max_grad_norm=1.0, optim="adamw_torch_fused", gradient_checkpointing=job.checkpointing,
        logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True, max_completion_length=4096)


def replay(groups: list[Group]) -> Callable[[list[Any], GRPOTrainer], dict[str, list[Any]]]:
    """Instead of generation: the stored samples of the prompts asked for; see `questions`."""
    named = {group.text or str(number): group for number, group in enumerate(groups)}

    def stored(prompts: list[Any], _: GRPOTrainer) -> dict[str, list[Any]]:
        seen: Counter[str] = Counter()
        found: dict[str, list[Any]] = {"prompt_ids": [], "completion_ids": [], "logprobs": [], "stored": []}
        for prompt in prompts:
            name = prompt if isinstance(prompt, str) else prompt[0]["content"][-1]["text"]
            group, sample = named[name], seen[name]
            seen[name] += 1
            for name, values in zip(found, (group.prompt, group.completions[sample], group.logprobs[sample],
                                            group.rewards[sample]), strict=True):
                found[name].append(values)
        return found

    return stored


def stored_reward(stored: list[float], **_: Any) -> list[float]:
    """The stored rollouts' own rewards."""
    return stored


def adapter(job: Job) -> LoraConfig:
    """The shape of ours, on the same layers."""
    layers = {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in load_file(job.adapter)}
    return LoraConfig(r=job.rank, lora_alpha=2 * job.rank, target_modules=sorted(layers), task_type="CAUSAL_LM")


def put_adapter(model: torch.nn.Module, tensors: dict[str, Tensor]) -> None:
    """Overwrites the adapter's weights, all of them."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if parameters.keys() != tensors.keys():
        raise RuntimeError(f"TRL trains other weights: {sorted(parameters.keys() ^ tensors.keys())[:2]}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def trained(model: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of the weights that are trained, in float32 on the CPU."""
    return {name: parameter.detach().float().cpu().clone() for name, parameter in model.named_parameters()
            if parameter.requires_grad}
