"""Engines sample completions. Each is imported only when it is opened."""

from typing import TYPE_CHECKING

from sparkcli.config import ModelConfig
from sparkcli.engines.base import Engine

if TYPE_CHECKING:
    from sparkcli.models.policy import Policy


def open_engine(model: ModelConfig, policy: "Policy | None" = None) -> Engine:
    """The engine that `model.engine` names, holding the policy that `model.policy` names.

    Args:
        model: which model and engine; `auto` is transformers.
        policy: a policy in memory to share with a trainer, instead of loading one. The scripted engine needs none.

    Raises:
        UsageError: the model or policy cannot be loaded.
    """
    if model.engine == "scripted":
        from sparkcli.engines.scripted import ScriptedEngine

        return ScriptedEngine(model)
    from sparkcli.engines.transformers import TransformersEngine
    from sparkcli.models.policy import load

    return TransformersEngine(policy or load(model))
