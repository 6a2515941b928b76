"""The tokenizer of the built-in model: byte-level, digits one by one, and one token for each fixed phrase.

Any text can be read, byte by byte; the product's own wordings cost a token for each stretch between two
placeholders. An edit of a wording therefore needs a new checkpoint (a test notices).
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sparkcli.builtin.tiny_math.demonstrations import BLANK, DIFFERENT, FINISH, SAME, templates
from sparkcli.builtin.tiny_math.task import PHRASES
from sparkcli.builtin.tiny_math.workings import SEPARATOR

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
ROLES = ("system\n", "user\n", "assistant\n")
NOTATION = (SEPARATOR, FINISH, SAME, DIFFERENT, BLANK, r"\boxed{", r"\frac{", "}{", "Yes", "No")

CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}
{%- else %}{% for part in message.content if part.type == 'text' %}{{ part.text }}{% endfor %}{% endif -%}
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
    markers = [AddedToken(marker, special=True, normalized=False) for marker in (PAD, START, END)]
    core.add_special_tokens(markers)
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
