"""What vLLM is told alike in this process and as a server. Imports neither vLLM nor torch."""

from pathlib import Path

from sparkcli.config import ModelConfig
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import read_json

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank of an adapter."""

CPU_CACHE_GIB = 4
"""For keys and values on a CPU, where vLLM would take nearly all the machine's memory."""

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
