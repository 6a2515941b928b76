"""The settings of a whole run, and the recipe that says them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from sparkcli.config import (
    EvalConfig,
    LoopConfig,
    ModelConfig,
    RecycleConfig,
    ReflectConfig,
    RolloutConfig,
    ServerConfig,
    ShapingConfig,
    TrainConfig,
    VerifyConfig,
    resolve,
)
from sparkcli.errors import UsageError
from sparkcli.models.locate import on_base

FREE = {("loop", "steps"), ("loop", "out"), ("loop", "keep"), ("verify", "jobs"), ("verify", "max_error_share"),
        ("model", "engine"), ("rollout", "batch_size"), ("rollout", "batch_tokens"), ("rollout", "vllm"),
        ("train", "tokens_per_batch"), *(("server", f.name) for f in dataclasses.fields(ServerConfig))}
"""What may differ when a run is continued: how long, how much is kept, how it is computed; never what is computed.
Another engine draws other samples of the same distribution; the scripted one draws from none."""


@dataclass(frozen=True)
class Settings:
    """One config per stage of the loop."""

    loop: LoopConfig
    model: ModelConfig
    rollout: RolloutConfig
    server: ServerConfig
    verify: VerifyConfig
    shaping: ShapingConfig
    recycle: RecycleConfig
    train: TrainConfig
    reflect: ReflectConfig
    eval: EvalConfig

    @classmethod
    def of(cls, recipe: Mapping[str, Any], environ: Mapping[str, str], flags: Mapping[str, Any]) -> Self:
        """Resolved from a recipe's sections; `flags` are those of `[loop]`.

        Raises:
            UsageError: an unknown key, or a value of the wrong type or out of bounds.
        """
        given = {"loop": flags}
        settings = cls(**{f.name: resolve(f.type, given.get(f.name, {}), environ, recipe)  # type: ignore[arg-type]
                          for f in dataclasses.fields(cls)})
        return replace(settings, model=on_base(settings.model))

    def sections(self) -> dict[str, dict[str, Any]]:
        """Every setting, by section."""
        return {f.name: dataclasses.asdict(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def check_complete(self) -> None:
        """Raises UsageError where no model is named, or no prompts are."""
        if not self.model.name:
            raise UsageError("which model? name it in the recipe's [model] as name, or with --set model.name=, e.g. "
                             "Qwen/Qwen2.5-1.5B-Instruct, or builtin:tiny-math to try things out")
        if not self.loop.prompts:
            raise UsageError("which prompts? name them in the recipe's [loop] as prompts, or with --set loop.prompts=, "
                             "e.g. prompts.jsonl, or builtin:tiny-math/train to try things out")

    def of_step(self, number: int) -> Self:
        """What a step works with: its stages draw from `loop.seed` + its number."""
        seed = self.loop.seed + number
        return replace(self, rollout=replace(self.rollout, seed=seed), recycle=replace(self.recycle, seed=seed),
                       train=replace(self.train, seed=seed))

    def continues(self, before: "Settings", recipe: Path) -> None:
        """Raises UsageError where a setting differs from the one in `recipe` that the finished steps were made with."""
        old = before.sections()
        differing = [f"{section}.{key} is {value!r}, was {old[section][key]!r}"
                     for section, values in self.sections().items() for key, value in values.items()
                     if (section, key) not in FREE and value != old[section][key]]
        engines = self.model.engine, before.model.engine
        if "scripted" in engines and len(set(engines)) > 1:
            differing.append("model.engine is {!r}, was {!r}".format(*engines))
        if differing:
            raise UsageError(f"{recipe.parent}: --resume with other settings: {'; '.join(differing)}; give the same, "
                             "or no recipe (the run's own then), or start anew with another -o")
