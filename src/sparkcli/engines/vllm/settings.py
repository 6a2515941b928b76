"""What vLLM is told alike in this process and as a server. Imports neither vLLM nor torch."""

from pathlib import Path
from typing import Any

from sparkcli.config import ModelConfig
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import read_json

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank of an adapter."""

CPU_CACHE_GIB = 4
"""For keys and values on a CPU, where vLLM would take nearly all the machine's memory."""

ADAPTER_FILE = "adapter_model.safetensors"
LANGUAGE = (".language_model.", ".text_model.", ".lm_head.")
"""In the names of layers that do not read images, of models that do."""

PIXEL_COUNTERS = "Qwen2VLImageProcessor"
"""How image processors are named that have limits to an image's pixels, and call them edges."""

WORKER = "sparkcli.engines.vllm.worker.Worker"
"""See there."""


def lora_rank(rank: int) -> int:
    """The smallest largest rank that vLLM takes and that an adapter of this rank fits in.

    Raises:
        UsageError: there is none.
    """
    if rank > LORA_RANKS[-1]:
        raise UsageError(f"an adapter of rank {rank}: vLLM takes {LORA_RANKS[-1]} at most")
    return next(known for known in LORA_RANKS if known >= rank)


def weights_dtype(folder: Path, model: ModelConfig, *, on_cpu: bool) -> str:
    """As the transformers engine chooses; vLLM's own choice would halve a float32 checkpoint."""
    if model.dtype != "auto" or on_cpu:
        return "float32" if model.dtype == "auto" else model.dtype
    stored = read_json(folder / "config.json")
    sections = [stored, stored.get("text_config") or {}]
    return next((str(s[key]) for s in sections for key in ("dtype", "torch_dtype") if s.get(key)), "auto")


def image_arguments(folder: Path, max_pixels: int) -> dict[str, Any]:
    """What vLLM is told of images where the model in `folder` reads them; nothing where it reads text alone.

    Pixels are normalised as transformers does it, not within the model: there vLLM goes by what the folder names, and
    takes a mean or deviation that is missing for none at all. The largest image sets what room is made for images.
    """
    if "vision_config" not in read_json(folder / "config.json"):
        return {}
    size = _size(folder)
    limited = {"mm_processor_kwargs": {"size": {edge: min(area, max_pixels) for edge, area in size.items()}}}
    settled = {"limit_mm_per_prompt": {"video": 0, "audio": 0}, "mm_device_do_normalize": False}
    return settled | limited if size else settled


def reaches_images(base: Path, adapter: Path) -> bool:
    """Whether an adapter of the model in `base` changes what reads images, by the names of its layers."""
    if "vision_config" not in read_json(base / "config.json"):
        return False
    from safetensors import safe_open

    with safe_open(adapter / ADAPTER_FILE, "np") as stored:
        return not all(any(part in name for part in LANGUAGE) for name in stored.keys())  # noqa: SIM118 - no mapping


def names_normalisation(folder: Path) -> bool:
    """Whether the model in a folder says by which mean and deviation its images are normalised."""
    return any(settings.get("image_mean") and settings.get("image_std") for settings in _processors(folder))


def _processors(folder: Path) -> list[dict[str, Any]]:
    """Settings of the image processor in a folder, the newer file first."""
    named = [path for name in ("processor_config.json", "preprocessor_config.json")
             if (path := folder / name).is_file()]
    return [stored.get("image_processor", stored) for stored in map(read_json, named)]


def _size(folder: Path) -> dict[str, int]:
    """The limits of the image processor in a folder to an image's area, which it calls edges; empty without any."""
    for settings in _processors(folder):
        if str(settings.get("image_processor_type", "")).startswith(PIXEL_COUNTERS):
            size = settings.get("size") or {}
            least = size.get("shortest_edge") or settings.get("min_pixels")
            most = size.get("longest_edge") or settings.get("max_pixels")
            return {"shortest_edge": int(least), "longest_edge": int(most)} if least and most else {}
    return {}
