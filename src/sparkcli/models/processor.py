"""What makes pixel inputs of images: a model's processor, also where torchvision is not installed."""

import logging
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from sparkcli.config import ModelConfig
from sparkcli.models.network import sees

log = logging.getLogger(__name__)


def load_processor(folder: Path, config: ModelConfig, architecture: PreTrainedConfig) -> Any | None:
    """The processor in the folder of a model; None for a model that reads text only.

    Where it counts an image's pixels itself, it scales images down to `config.max_pixels` at most.
    """
    if not sees(architecture):
        return None
    try:
        processor = _load(folder, config, architecture)
    except (OSError, ValueError, KeyError, ImportError) as error:
        log.warning("%s: its image processor cannot be loaded, so it reads text only: %s", folder,
                    " ".join(str(error).split())[:200])
        return None
    if counts_pixels(processor):
        images, most = processor.image_processor, config.max_pixels
        images.size = {edge: min(images.size[edge], most) for edge in ("shortest_edge", "longest_edge")}
    return processor


def counts_pixels(processor: Any) -> bool:
    """Whether its image processor has limits to an image's pixels (as Qwen's, which call these areas edges)."""
    return "max_pixels" in processor.image_processor.valid_kwargs.__annotations__ and all(
        processor.image_processor.size.get(edge) for edge in ("shortest_edge", "longest_edge"))


def scales_with_torchvision(processor: Any) -> bool:
    """Whether torchvision scales its images, and not Pillow: transformers takes it wherever it is installed."""
    return not type(processor.image_processor).__name__.endswith("Pil")


def _load(folder: Path, config: ModelConfig, architecture: PreTrainedConfig) -> Any:
    options: dict[str, Any] = {"trust_remote_code": config.trust_remote_code}
    try:
        return transformers.AutoProcessor.from_pretrained(folder, **options)
    except (ImportError, ValueError):  # reading videos takes torchvision
        kind: Any = PROCESSOR_MAPPING.get(type(architecture), None)
        if kind is None or "video_processor" not in kind.get_attributes():
            raise
        return _without_videos(kind).from_pretrained(folder, **options)


def _without_videos(kind: Any) -> Any:
    """The same processor for images and text alone."""

    class WithoutVideos(kind):  # type: ignore[misc]
        @classmethod
        def _get_arguments_from_pretrained(cls, folder: Any, processor_dict: Any = None, **options: Any) -> list[Any]:
            loaders: dict[str, Any] = {"image_processor": transformers.AutoImageProcessor,
                                       "tokenizer": transformers.AutoTokenizer}
            return [loaders[name].from_pretrained(folder, **options) if name in loaders else None
                    for name in cls.get_attributes()]

        def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
            return None if argument is None else super().check_argument_for_proper_class(name, argument)

    WithoutVideos.__name__ = kind.__name__
    return WithoutVideos
