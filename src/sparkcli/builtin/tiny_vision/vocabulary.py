"""The tokenizer and the image processor of builtin:tiny-vision."""

from typing import TYPE_CHECKING, Any

from sparkcli.builtin import vocabulary
from sparkcli.builtin.tiny_vision.demonstrations import LOOK
from sparkcli.builtin.tiny_vision.pictures import CELL, SIDE
from sparkcli.builtin.tiny_vision.task import PHRASES
from sparkcli.builtin.vocabulary import VERDICTS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
MERGE, FRAMES = 2, 2
PATCH = CELL // MERGE
MEAN, DEVIATION = 0.92, 0.3
"""Of the pixels: white paper becomes nearly zero."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}
{%- else %}{% for part in message.content -%}
{%- if part.type in ('image', 'image_url') or 'image' in part -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'text' -%}{{ part.text }}
{%- endif -%}
{%- endfor %}{% endif -%}
<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""


def build() -> "PreTrainedTokenizerFast":
    """The tokenizer, with its chat template, which puts one placeholder for an image as Qwen's does."""
    return vocabulary.build([*VERDICTS, LOOK, *PHRASES], CHAT_TEMPLATE, (VISION_START, VISION_END, IMAGE, VIDEO))


def image_processor() -> Any:
    """Qwen2-VL's, at patches of 8 pixels: 4 to 256 image tokens a picture. Mean and deviation of the pixels are
    explicit: vLLM takes them from the file."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, temporal_patch_size=FRAMES, image_mean=[MEAN] * 3,
        image_std=[DEVIATION] * 3, do_resize=True, do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
        do_convert_rgb=True, resample=3, size={"shortest_edge": 4 * CELL**2, "longest_edge": 16 * SIDE**2},
    )
