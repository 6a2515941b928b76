"""The tokenizer and the image processor of the built-in vision model.

As in builtin:tiny-math any text can be read byte by byte, digits stand alone, and each fixed stretch of the product's
wordings is one token. An edit of a wording therefore needs a new checkpoint (a test notices).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sparkcli.builtin.tiny_math.demonstrations import BLANK, DIFFERENT, SAME, templates
from sparkcli.builtin.tiny_math.workings import SEPARATOR
from sparkcli.builtin.tiny_vision.demonstrations import FINISH, LOOK
from sparkcli.builtin.tiny_vision.pictures import CELL, SIDE
from sparkcli.builtin.tiny_vision.task import PHRASES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
ROLES = ("system\n", "user\n", "assistant\n")
NOTATION = (SEPARATOR, FINISH, SAME, DIFFERENT, BLANK, r"\boxed{", "Yes", "No", LOOK)
MERGE = 2
PATCH = CELL // MERGE

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


def phrases() -> Iterator[str]:
    """Every fixed stretch of the prompt wordings, the questions and the notation, each once."""
    kinds = ("pointwise", "pairwise", "reflection")
    texts = [str(template["text"]) for kind in kinds for template in templates(kind)]
    stretches = [stretch for text in texts for stretch in re.split(r"\{\{\w+\}\}", text) if stretch]
    yield from dict.fromkeys([*ROLES, *NOTATION, *PHRASES, *stretches])


def build() -> "PreTrainedTokenizerFast":
    """The tokenizer, with its chat template; `<|im_end|>` ends a reply, padding goes to the left."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    markers = (PAD, START, END, VISION_START, VISION_END, IMAGE, VIDEO)
    core.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in markers])
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases() if phrase != BLANK])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def image_processor() -> object:
    """Qwen2-VL's, at patches of 8 pixels; white paper becomes nearly zero. 4 to 256 image tokens a picture."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    return Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=MERGE, temporal_patch_size=2, image_mean=[0.92] * 3, image_std=[0.3] * 3,
        do_resize=True, do_rescale=True, rescale_factor=1 / 255, do_normalize=True, do_convert_rgb=True, resample=3,
        size={"shortest_edge": 4 * CELL**2, "longest_edge": 16 * SIDE**2},
    )
