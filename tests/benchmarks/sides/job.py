"""What both sides of the comparison are told."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One process: a model, stored rollouts, one update over all of them per step."""

    model: Path
    rollouts: Path
    adapter: Path
    """File of the new adapter's weights, so that both sides start from the same; made by `ours.draw_adapter`."""
    device: str
    dtype: str
    method: str
    checkpointing: bool
    by_group: bool
    """Loss: mean over groups of token means, or over all tokens."""
    vision: bool = False
    """Whether the model is vision-language, and the rollouts have images."""
    train_vision: bool = False
    kl: float = 0.001
    rank: int = 16
    rate: float = 1e-4
    tile: int | None = None
    """Columns of the vocabulary that TRL's head takes at a time; None: as many as TRL does."""
    steps: int = 1
    trace: bool = False
    change: Path | None = None
    """Where to write what the first step changed, tensor by tensor."""
