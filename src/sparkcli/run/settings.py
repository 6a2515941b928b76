"""The settings of a whole run, and the recipe that says them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sparkcli.config import (
    EvalConfig,
    LoopConfig,
    ModelConfig,
    RecycleConfig,
    ReflectConfig,
    RolloutConfig,
    TrainConfig,
    VerifyConfig,
    resolve,
)
from sparkcli.errors import UsageError
from sparkcli.files.recipe import read_recipe, write_recipe
from sparkcli.run.state import RunFolder

FREE = {("loop", "steps"), ("loop", "out"), ("loop", "keep"), ("verify", "jobs")}
"""What may differ when a run is continued: it changes no record of the steps that are done."""


@dataclass(frozen=True)
class Settings:
    """One config per stage of the loop."""

    loop: LoopConfig
    model: ModelConfig
    rollout: RolloutConfig
    verify: VerifyConfig
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
        return cls(**{f.name: resolve(f.type, given.get(f.name, {}), environ, recipe)  # type: ignore[arg-type]
                      for f in dataclasses.fields(cls)})

    def sections(self) -> dict[str, dict[str, Any]]:
        """Every setting, by section."""
        return {f.name: dataclasses.asdict(getattr(self, f.name)) for f in dataclasses.fields(self)}


def keep_recipe(folder: RunFolder, settings: Settings) -> None:
    """Writes `recipe.toml` of a new run; of one that is continued, checks that nothing else was asked for.

    Raises:
        UsageError: a setting differs from the one that the finished steps were made with.
    """
    sections = settings.sections()
    if folder.recipe.exists():
        before = read_recipe(str(folder.recipe))
        differing = [f"{section}.{key}" for section, values in sections.items() for key, value in values.items()
                     if (section, key) not in FREE and _plain(value) != before.get(section, {}).get(key)]
        if differing:
            raise UsageError(f"{folder.path}: --resume: {', '.join(differing)} differs from the run's recipe.toml; "
                             "continue with the same settings, or start anew with another -o")
    folder.recipe.write_text(write_recipe(sections))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
