"""What goes through a vision tower: patches, and on a CPU the seconds of their way forward."""

import time
from typing import Any

from torch.nn import Module


class Tower:
    """Watches the vision tower of a Qwen-VL model, with an adapter or without; of another model it counts nothing."""

    def __init__(self, model: Any) -> None:
        self.patches, self.seconds = 0, 0.0
        for name, module in model.named_modules():
            if name.endswith("model.visual"):
                module.register_forward_pre_hook(self._begin, with_kwargs=True)
                module.register_forward_hook(self._end)

    def taken(self) -> dict[str, float]:
        """What there was since the last call."""
        found = {"patches": self.patches, "tower_s": self.seconds}
        self.patches, self.seconds = 0, 0.0
        return found

    def _begin(self, tower: Module, given: Any, named: Any) -> None:
        self.patches += len(given[0] if given else named["hidden_states"])
        self._started = time.perf_counter()

    def _end(self, tower: Module, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._started
