"""Opens vLLM: looks for what is used of it and makes its arguments."""

import dataclasses
import importlib.util
import logging
import pkgutil
import types
import typing
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkcli.config import ModelConfig, SamplingConfig
from sparkcli.engines.vllm.containment import contained, set_environment
from sparkcli.engines.vllm.settings import CPU_CACHE_GIB, WORKER, image_arguments, lora_rank, weights_dtype
from sparkcli.errors import UsageError, nearest

USED = types.MappingProxyType({
    "vllm.LLM": ("collective_rpc", "reset_prefix_cache", "sleep", "wake_up"),
    "vllm.LLMEngine": ("add_request", "step", "abort_request", "add_lora", "reset_encoder_cache"),
    "vllm.EngineArgs": ("dtype", "enable_lora", "enable_sleep_mode", "limit_mm_per_prompt", "logprobs_mode",
                        "max_lora_rank", "max_model_len", "max_num_seqs", "mm_processor_cache_gb", "use_tqdm_on_load"),
    "vllm.SamplingParams": ("detokenize", "flat_logprobs", "logprobs", "n", "output_kind", "seed", "stop_token_ids"),
    "vllm.config.model.LogprobsMode": ("processed_logprobs",),
    "vllm.exceptions": ("VLLMError",),
    "vllm.distributed": ("cleanup_dist_env_and_memory",),
    "vllm.inputs": ("tokens_input",),
    "vllm.lora.request": ("LoRARequest",),
    "vllm.renderers.BaseRenderer": ("render_cmpl",),
    "vllm.model_executor.model_loader.utils": ("get_model_cls",),
    "vllm.platforms.interface.Platform": ("is_sleep_mode_available",),
    "vllm.v1.worker.gpu_worker.Worker": ("reload_weights",),
})
"""What the engine uses of vLLM, by where it is found."""

OWN = ("model", "tokenizer", "logprobs_mode")
"""Arguments that are not the user's: records would not say what they say."""

CHATTY = ("vllm.model_executor.model_loader.reload.layerwise", "vllm.v1.engine.input_processor",
          "vllm.v1.worker.cpu_worker")
"""Loggers that warn of what is meant: rotations without weights, adapters without a tokenizer of their own, a CPU."""

SHARE_BESIDE_TRAINER = 0.4
"""Of the device's memory, for vLLM: the trainer's weights stay there while it samples."""

CPU_STEP_TOKENS = 8192
"""That one forward pass takes there, or more: prompts of one batch begin together."""

_ALIVE: "weakref.WeakSet[Any]" = weakref.WeakSet()
"""The LLM of this process. There can be only one: when it ends, vLLM ends the process groups of all."""


@dataclass(frozen=True)
class Room:
    """What an LLM has room for."""

    tokens: int
    """Of one prompt and its completion."""
    rank: int
    """Of an adapter; 0: none can be loaded."""
    reaches_images: bool = False
    """Whether adapters may change what reads images; where they may not, vLLM leaves that part of them out."""


@dataclass(frozen=True)
class Opener:
    """Makes LLMs of one model, each with the room that it is asked for."""

    folder: Path
    """Of the model; a full policy's weights are in another."""
    model: ModelConfig
    sampling: SamplingConfig
    beside_trainer: bool

    def settled(self, room: Room) -> Room:
        """What an LLM has to have that is asked for `room`: no more than the user allows."""
        given = self.sampling.vllm or {}
        return Room(0 if "max_model_len" in given else room.tokens,
                    given.get("max_lora_rank", room.rank) if room.rank else 0, room.reaches_images)

    def open(self, folder: Path, room: Room) -> tuple[Any, Room]:
        """An LLM with the weights in `folder`, and the room it has: settings of the user win.

        Raises:
            UsageError: vLLM is missing, lacks a feature or an argument, cannot load the model, or has one open.
        """
        if _ALIVE:
            raise UsageError("only one vllm engine fits in a process; close the other, or let `sparkcli serve` have "
                             "one of the two")
        vllm = import_vllm()
        given = self.sampling.vllm or {}
        check_arguments(given)
        arguments = self._arguments(folder, room) | given
        try:
            with contained():
                llm = vllm.LLM(**arguments)
            _ALIVE.add(llm)
            for name in CHATTY:
                logging.getLogger(name).setLevel(logging.ERROR)
        except failures() as error:
            _clean_up()
            if "limit_mm_per_prompt" in arguments and importlib.util.find_spec("torchvision") is None:
                raise UsageError(f"{folder}: reads images, for which vllm needs torchvision, which is not installed; "
                                 "try: pip install torchvision, or --engine transformers") from error
            raise UsageError(f"{folder}: vllm {vllm.__version__} cannot load it: {one_line(error)}; try other "
                             "arguments of vllm.LLM in [rollout.vllm], or --engine transformers") from error
        rank = arguments["max_lora_rank"] if arguments.get("enable_lora") else 0
        reaches = arguments.get("enable_tower_connector_lora", False)
        if room.reaches_images and not (reaches and _adapts_images(llm)):
            close(llm)
            raise UsageError(f"{folder}: vllm {vllm.__version__} has no adapters on what reads images in this model; "
                             "try --engine transformers, or train without --train-vision")
        return llm, Room(llm.llm_engine.model_config.max_model_len, rank, reaches)

    def _arguments(self, folder: Path, room: Room) -> dict[str, Any]:
        from vllm.platforms import current_platform

        check_device(self.model.device, current_platform.device_type)
        given = self.sampling.vllm or {}
        on_cpu = current_platform.is_cpu()
        arguments: dict[str, Any] = {
            "model": str(folder), "trust_remote_code": self.model.trust_remote_code, "use_tqdm_on_load": False,
            "dtype": weights_dtype(self.folder, self.model, on_cpu=on_cpu),
            "max_model_len": room.tokens, "max_num_seqs": self.sampling.batch_size,
            "logprobs_mode": "processed_logprobs"}
        arguments |= _image_arguments(self.folder, self.model)
        if room.rank or given.get("enable_lora"):
            arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": lora_rank(room.rank)}
            arguments |= {"enable_tower_connector_lora": True} if room.reaches_images else {}
        if on_cpu:
            sizes = arguments | given
            # Seeds crash there once a prompt is read in pieces, so each must fit in beside what is running.
            arguments |= {"enforce_eager": True, "enable_chunked_prefill": False, "worker_extension_cls": WORKER,
                          "max_num_batched_tokens": max(CPU_STEP_TOKENS,
                                                        sizes["max_model_len"] + sizes["max_num_seqs"])}
            if "gpu_memory_utilization" not in given:
                arguments["kv_cache_memory_bytes"] = CPU_CACHE_GIB << 30
        elif self.beside_trainer:
            arguments |= {"gpu_memory_utilization": SHARE_BESIDE_TRAINER,
                          "enable_sleep_mode": current_platform.is_sleep_mode_available()}
        return arguments


def _image_arguments(folder: Path, model: ModelConfig) -> dict[str, Any]:
    """Without vLLM's cache of pixels, which would be out of step after a prompt that is refused once they are made."""
    import vllm

    found = image_arguments(folder, model.max_pixels)
    known = {f.name for f in dataclasses.fields(vllm.EngineArgs)}
    cache = {"mm_processor_cache_gb": 0} if found else {}
    return {name: value for name, value in found.items() if name in known} | cache


def import_vllm() -> Any:
    """The module, with all that is used of it.

    Raises:
        UsageError: not installed, broken, or another version than this can work with; says what is missing.
    """
    if importlib.util.find_spec("vllm") is None:
        raise UsageError("the vllm engine needs vllm, which is not installed; try: pip install 'sparkcli[vllm]', or "
                         "--engine transformers")
    set_environment()
    try:
        with contained():
            import vllm

            missing = lacking(USED)
    except (ImportError, OSError, RuntimeError) as error:
        raise UsageError(f"vllm is installed, but cannot be imported: {one_line(error)}; install it anew in an "
                         "environment of its own, or try --engine transformers") from error
    if missing:
        raise UsageError(f"vllm {vllm.__version__} lacks {', '.join(missing)}; try: pip install -U vllm, or --engine "
                         "transformers")
    return vllm


def lacking(used: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names among `used` that are not where they should be.

    Raises:
        ImportError: a module cannot be imported for another reason than not being there.
    """
    missing: list[str] = []
    for place, names in used.items():
        try:
            thing = pkgutil.resolve_name(place)
        except (ModuleNotFoundError, AttributeError):
            missing.append(place)
            continue
        fields = {f.name for f in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
        known = fields.union(dir(thing), typing.get_args(thing))
        missing += [f"{place}.{name}" for name in names if name not in known]
    return missing


def check_arguments(given: Mapping[str, Any]) -> None:
    """Raises UsageError for an argument that vllm.LLM does not take, or that is not the user's."""
    import vllm

    known = {f.name for f in dataclasses.fields(vllm.EngineArgs)}
    for name in given:
        if name in OWN:
            raise UsageError(f"vllm argument {name}: is set by sparkcli, since records say what it is; leave it out")
        if name not in known:
            raise UsageError(f"vllm argument {name}: vllm {vllm.__version__} has none such"
                             f"{nearest(name, known)}")


def check_device(name: str, platform: str) -> None:
    """Raises UsageError for a device that vLLM does not compute on."""
    if name == "auto":
        return
    kind, _, index = name.partition(":")
    if kind != platform:
        raise UsageError(f"--device {name}: the vllm installed here computes on {platform or 'no device it finds'}; "
                         "leave --device out, or try --engine transformers")
    if index not in ("", "0"):
        raise UsageError(f"--device {name}: vllm takes the first GPU that it sees; choose it by "
                         f"CUDA_VISIBLE_DEVICES={index}")


def close(llm: Any) -> None:
    """Ends an LLM and what it has opened in this process; whoever holds it must have let go of it otherwise."""
    llm.llm_engine.engine_core.shutdown()
    _ALIVE.discard(llm)


def _adapts_images(llm: Any) -> bool:
    """Whether vLLM can have adapters on what reads images in this model."""
    from vllm.model_executor.model_loader.utils import get_model_cls

    return bool(getattr(get_model_cls(llm.llm_engine.model_config), "supports_tower_connector_lora", False))


def _clean_up() -> None:
    """After an LLM that could not be made."""
    from vllm.distributed import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()


def failures() -> tuple[type[Exception], ...]:
    """What vLLM raises where it cannot do something."""
    from vllm.exceptions import VLLMError

    return (VLLMError, ValueError, RuntimeError, OSError, ImportError, LookupError, TypeError, AttributeError,
            AssertionError, MemoryError)


def one_line(error: BaseException) -> str:
    """What an error says, without line breaks and not at length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
