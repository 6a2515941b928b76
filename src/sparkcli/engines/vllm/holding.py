"""An LLM of vLLM with one policy at a time: swaps adapters, reloads weights, sleeps, is made anew when too small."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparkcli.engines.vllm.opening import Opener, Room, close, failures, one_line
from sparkcli.engines.vllm.settings import reaches_images
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import is_adapter, policy_fingerprint, read_json

log = logging.getLogger(__name__)

LEAST_FREED = 0.05
"""Of the device's memory. An LLM that sleeps and gives back less has not given back its weights and cache."""


@dataclass(frozen=True)
class Held:
    """A policy as vLLM needs to know it."""

    fingerprint: str
    folder: Path
    """Of the weights: the model's, or a full policy's own."""
    weights: str
    """The fingerprint of those."""
    adapter: Path | None = None
    rank: int = 0
    """Of the adapter."""
    reaches_images: bool = False
    """Whether the adapter changes what reads images."""

    @classmethod
    def found(cls, base: Path, base_fingerprint: str, directory: Path | None) -> "Held":
        """The policy in a directory that was checked; None is the bare model."""
        if directory is None:
            return cls(base_fingerprint, base, base_fingerprint)
        fingerprint = policy_fingerprint(directory, base_fingerprint)
        if not is_adapter(directory):
            return cls(fingerprint, directory, fingerprint)
        rank = int(read_json(directory / "adapter_config.json").get("r", 0))
        return cls(fingerprint, base, base_fingerprint, directory, rank, reaches_images(base, directory))


class Holder:
    """Makes its LLM have what is asked for. Nothing may be in flight while it does.

    Args:
        opener: makes LLMs.
        room: what the first one has room for; later ones for the most that was ever needed.
    """

    def __init__(self, opener: Opener, room: Room) -> None:
        self._opener, self._room = opener, room
        self._has = Room(0, 0)
        self._weights = ""
        self._adapter = ""
        self._loads = 0
        self._asleep = False
        self.llm: Any = None
        self.request: Any = None
        """What vLLM is to be given with each prompt: the adapter, or None."""

    @property
    def tokens(self) -> int:
        """That a prompt and its completion can have together."""
        return self._has.tokens

    def lacks(self, policy: Held, tokens: int) -> bool:
        """Whether `bring` would change anything."""
        adapter = policy.fingerprint if policy.adapter else ""
        return (self.llm is None or self._asleep or self._weights != policy.weights or self._adapter != adapter
                or not self._fits(self._asked(policy, tokens)))

    def bring(self, policy: Held, tokens: int) -> None:
        """Makes the LLM sample `policy`, with room for `tokens`, whatever it has been.

        Raises:
            UsageError: vLLM cannot load it. What was brought before can be brought again.
        """
        room = self._asked(policy, tokens)
        if not self._fits(room):
            self.drop()
        if self.llm is None:
            self._open(policy, room)
        self._wake()
        if self._weights != policy.weights:
            self._reload(policy)
        if policy.adapter is None:
            self.request, self._adapter = None, ""
        elif self._adapter != policy.fingerprint:
            self._put_on(policy, policy.adapter)
        self._room = room

    def rest(self) -> None:
        """Sleeps where the platform can: weights wait in the CPU's memory, keys and values are forgotten."""
        if self.llm is None or self._asleep or not self.llm.llm_engine.model_config.enable_sleep_mode:
            return
        before, total = torch.accelerator.get_memory_info()
        self.llm.sleep(level=1)
        self._asleep = True
        freed = torch.accelerator.get_memory_info()[0] - before
        if freed < LEAST_FREED * total:
            log.warning("vllm sleeps, but gave back only %.2f GiB of the device's %.1f; the trainer has to do with the "
                        "%.2f GiB that are free", freed / 2**30, total / 2**30, (before + freed) / 2**30)

    def drop(self) -> None:
        """Ends the LLM and frees what it holds."""
        if self.llm is None:
            return
        llm, self.llm, self.request = self.llm, None, None
        self._weights, self._adapter, self._asleep = "", "", False
        close(llm)

    def _asked(self, policy: Held, tokens: int) -> Room:
        """The most that was ever needed, with this."""
        return Room(max(self._room.tokens, tokens), max(self._room.rank, policy.rank),
                    self._room.reaches_images or policy.reaches_images)

    def _fits(self, room: Room) -> bool:
        needed = self._opener.settled(room)
        return (needed.tokens <= self._has.tokens and needed.rank <= self._has.rank
                and needed.reaches_images <= self._has.reaches_images)

    def _open(self, policy: Held, room: Room) -> None:
        self.llm, self._has = self._opener.open(policy.folder, room)
        self._weights = policy.weights

    def _wake(self) -> None:
        if self._asleep:
            torch.accelerator.empty_cache()  # what the trainer no longer uses, vLLM must be able to take
            self.llm.wake_up()
            self._asleep = False

    def _reload(self, policy: Held) -> None:
        """Full weights in place; without resets, keys, values and images of the old ones would be used on."""
        self.request, self._adapter, self._weights = None, "", ""
        try:
            self.llm.collective_rpc("reload_weights", kwargs={"weights_path": str(policy.folder)})
        except failures() as error:
            self.drop()  # it may have loaded half of it
            raise UsageError(f"{policy.folder}: vllm cannot load these weights: {one_line(error)}; try --engine "
                             "transformers") from error
        self.llm.reset_prefix_cache()
        self.llm.llm_engine.reset_encoder_cache()
        self._weights = policy.weights

    def _put_on(self, policy: Held, directory: Path) -> None:
        """An adapter, under a name and number that vLLM has not seen: of an old one it keeps what it has."""
        from vllm.lora.request import LoRARequest

        if policy.rank > self._has.rank:
            raise UsageError(f"policy {directory}: its adapter has rank {policy.rank}, and [rollout.vllm] makes room "
                             f"for {self._has.rank}; raise max_lora_rank there, or leave it out")
        self._loads += 1
        request = LoRARequest(f"policy-{self._loads}", self._loads, str(directory.resolve()))
        try:
            self.llm.llm_engine.add_lora(request)
        except failures() as error:
            raise UsageError(f"policy {directory}: vllm cannot load its adapter: {one_line(error)}; try --engine "
                             "transformers, or `sparkcli export` and -m") from error
        self.request, self._adapter = request, policy.fingerprint
