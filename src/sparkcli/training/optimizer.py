"""AdamW in float32, whatever the precision of the weights: rate, clipping, loss scale, state as named tensors."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Parameter
from torch.nn.utils import get_total_norm

from sparkcli.config import TrainConfig
from sparkcli.errors import UsageError

log = logging.getLogger(__name__)

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What torch's AdamW keeps per parameter; a key of the saved state is `PARAMETER.MOMENT`."""
MASTER = "master"
"""`PARAMETER.master` is the float32 copy of a parameter of 16 bits."""
SCALE, SCALE_AGE = "loss_scale", "loss_scale_age"

FIRST_SCALE, LOWEST_SCALE = 2.0**16, 1.0
SCALE_GROWS_AFTER = 2000


@dataclass(frozen=True)
class Step:
    """What an update came to."""

    norm: float
    """Of the gradient, before clipping and without the loss scale. Not finite: nothing was updated."""
    skipped: bool
    """float16 overflowed at this loss scale; the next update is tried at half of it."""


@dataclass
class LossScale:
    """Dynamic loss scaling (arXiv 1710.03740): halved at an overflow, doubled after a long time without one.

    A power of two, so that scaling rounds nothing.
    """

    value: float = FIRST_SCALE
    age: int = 0
    """Updates since the value changed."""

    def grow(self) -> None:
        """Counts an update whose gradient was finite."""
        self.age += 1
        if self.age >= SCALE_GROWS_AFTER:
            self.value, self.age = self.value * 2, 0

    def shrink(self) -> bool:
        """After an overflow; False where the scale is at its floor, so that the scale was not to blame."""
        if self.value <= LOWEST_SCALE:
            return False
        self.value, self.age = self.value / 2, 0
        return True


class Optimizer:
    """AdamW with decoupled weight decay (arXiv 1711.05101), one fused kernel, over named parameters.

    A parameter of 16 bits has a float32 master copy, which is what is updated and then rounded into the parameter: an
    update smaller than half a step of its bfloat16 would otherwise be lost each time (arXiv 1710.03740). Its gradients
    are summed over micro-batches in float32 as well. A float32 parameter is its own master, at no cost.

    Parameters may be DTensors (FSDP2). All processes must then make the same calls in the same order.

    Args:
        parameters: what is trained, by name.
        config: rates, decay, clipping; may be replaced between updates.
        dtype: what the network computes in, where that is not the parameters' own (an adapter is float32 on any base).
            The loss is scaled where either is float16.
    """

    def __init__(self, parameters: Mapping[str, Parameter], config: TrainConfig,
                 dtype: torch.dtype | None = None) -> None:
        self.parameters = dict(parameters)
        self._masters = {name: _master(parameter) for name, parameter in self.parameters.items()}
        self._rounded = [(self.parameters[name], master) for name, master in self._masters.items()
                         if master is not self.parameters[name]]
        half = torch.float16 in {dtype, *(parameter.dtype for parameter in self.parameters.values())}
        self._scale = LossScale() if half else None
        self._adamw = torch.optim.AdamW(self._masters.values(), fused=True)
        self.config = config

    @property
    def config(self) -> TrainConfig:
        """The settings of the next update."""
        return self._config

    @config.setter
    def config(self, config: TrainConfig) -> None:
        self._config = config
        for group in self._adamw.param_groups:
            group.update(betas=(config.beta1, config.beta2), weight_decay=config.weight_decay)

    @property
    def loss_scale(self) -> float | None:
        """The factor that `scale` applies; None where nothing is computed in float16."""
        return self._scale.value if self._scale else None

    def scale(self, loss: Tensor) -> Tensor:
        """What to call `backward` on: the loss, in float16 times the loss scale. Call it once per micro-batch."""
        self._collect()
        return loss * self._scale.value if self._scale else loss

    def gradients(self) -> dict[str, Tensor]:
        """The gradients so far, times `loss_scale`, by name: the tensors themselves, float32 or wider."""
        self._collect()
        return {name: master.grad for name, master in self._masters.items() if master.grad is not None}

    def step(self, rate: float) -> Step:
        """One update at this learning rate, clipped to `config.max_grad_norm` (0: not); all gradients are then gone.

        A norm that is not finite updates nothing. In float16 that is `skipped`, and the loss scale is halved, until
        the scale is at its floor; anything else is for the caller to explain.
        """
        gradients = list(self.gradients().values())
        inverse = 1 / self._scale.value if self._scale else 1.0
        norm_0 = _whole(get_total_norm(gradients)).cpu() * inverse
        if not norm_0.isfinite():
            self.zero_grad()
            return Step(float(norm_0), skipped=self._scale is not None and self._scale.shrink())
        factor = self._clipping(norm_0) * inverse
        if factor != 1:
            torch._foreach_mul_([_local(gradient) for gradient in gradients], factor)
        self._update(rate)
        if self._scale:
            self._scale.grow()
        return Step(float(norm_0), skipped=False)

    def zero_grad(self) -> None:
        """Drops all gradients."""
        self._adamw.zero_grad()
        for parameter, _ in self._rounded:
            parameter.grad = None

    def tensors(self, keep: bool = True) -> dict[str, Tensor]:
        """The state: moments, masters, loss scale. A parameter that never had a gradient has no moments.

        DTensors are gathered, one at a time, so every process must call this; those with `keep` off drop what they
        gather and return nothing. Gathered tensors are on the CPU, others where the parameters are.
        """
        found: dict[str, Tensor] = {}
        for name, master in self._masters.items():
            state = {moment: self._adamw.state[master][moment] for moment in MOMENTS if master in self._adamw.state}
            if master is not self.parameters[name]:
                state[MASTER] = master.detach()
            for key, tensor in state.items():
                whole = _whole(tensor.detach())
                if keep:
                    found[f"{name}.{key}"] = whole.cpu() if isinstance(tensor, DTensor) else whole
        if self._scale and keep:
            found |= {SCALE: torch.tensor(self._scale.value), SCALE_AGE: torch.tensor(self._scale.age)}
        return found

    def restore(self, tensors: Mapping[str, Tensor], place: str) -> None:
        """Puts saved state back, exactly. Masters of weights that are float32 now are left out, with a warning.

        Raises:
            UsageError: `tensors` (from `place`) are not the state of these parameters.
        """
        expected = {f"{name}.{key}" for name in self.parameters for key in (*MOMENTS, MASTER)} | {SCALE, SCALE_AGE}
        if unknown := sorted(set(tensors) - expected):
            raise UsageError(f"{place}: holds the state of {unknown[0]!r}, which is not trained here; "
                             "train with the method, and train_vision, that made this policy")
        for name, master in self._masters.items():
            self._restore_moments(name, master, tensors, place)
            if master is not self.parameters[name] and f"{name}.{MASTER}" in tensors:
                self._restore_master(name, master, tensors[f"{name}.{MASTER}"], place)
        if not self._rounded and any(key.endswith(f".{MASTER}") for key in tensors):
            log.warning("%s: its float32 copies of weights of 16 bits are left out, as the weights are float32 now; "
                        "--dtype bfloat16 or float16 would go on from them", place)
        if self._scale and SCALE in tensors:
            self._scale = LossScale(float(tensors[SCALE]), int(tensors[SCALE_AGE]))

    def _restore_moments(self, name: str, master: Parameter, tensors: Mapping[str, Tensor], place: str) -> None:
        state = {moment: tensors[f"{name}.{moment}"] for moment in MOMENTS if f"{name}.{moment}" in tensors}
        if state and (len(state) < len(MOMENTS) or state["exp_avg"].shape != master.shape):
            raise UsageError(f"{place}: the state of {name!r} does not fit the weights; is it another policy's file?")
        if state:
            self._adamw.state[master] = {
                "step": state["step"].to(master.device, copy=True),
                **{moment: _placed(state[moment], master) for moment in MOMENTS[1:]}}

    def _restore_master(self, name: str, master: Parameter, tensor: Tensor, place: str) -> None:
        parameter = self.parameters[name]
        placed = _placed(tensor, master) if tensor.shape == master.shape else None
        if placed is None or not torch.equal(_local(placed).to(parameter.dtype), _local(parameter.detach())):
            raise UsageError(f"{place}: the float32 copy of {name!r} is not of these weights; were they trained in "
                             "another dtype, or replaced? Without this file AdamW starts anew")
        _local(master.detach()).copy_(_local(placed))

    def _collect(self) -> None:
        """Adds gradients of 16 bits to those of the masters, and drops them."""
        for parameter, master in self._rounded:
            if parameter.grad is None:
                continue
            if master.grad is None:
                master.grad = parameter.grad.to(master.dtype)
            else:
                master.grad.add_(parameter.grad)
            parameter.grad = None

    def _clipping(self, norm_0: Tensor) -> float:
        limit = self.config.max_grad_norm
        return float(torch.clamp(limit / (norm_0 + 1e-6), max=1.0)) if limit else 1.0

    def _update(self, rate: float) -> None:
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self.zero_grad()
        if self._rounded:
            torch._foreach_copy_([_local(parameter.detach()) for parameter, _ in self._rounded],
                                 [_local(master.detach()) for _, master in self._rounded])


def learning_rate(config: TrainConfig, update: int) -> float:
    """Rate of the update with this number, counted from 0 over all calls.

    Rises linearly to `lr` over `warmup_updates`, then stays, or falls linearly or as a half cosine; it would be 0 at
    `total_updates`, and stays 0 after it.

    Raises:
        UsageError: a decaying schedule without `total_updates`.
    """
    if update < config.warmup_updates:
        return config.lr * (update + 1) / config.warmup_updates
    if config.schedule == "constant":
        return config.lr
    if config.total_updates is None:
        raise UsageError(f"train: schedule {config.schedule!r} needs total_updates, the length of the whole run")
    length = max(1, config.total_updates - config.warmup_updates)
    done = min(1.0, (update - config.warmup_updates) / length)
    return config.lr * (1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


def _master(parameter: Parameter) -> Parameter:
    return parameter if parameter.dtype.itemsize >= 4 else Parameter(parameter.detach().float())


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy of a whole tensor where `like` is, cut as `like` is; every process has the whole."""
    if isinstance(like, DTensor):
        cut = distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
        return cut.clone()
    return tensor.to(like.device, copy=True)
