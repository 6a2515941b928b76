"""The tokenizer of builtin:tiny-math."""

from typing import TYPE_CHECKING

from sparkcli.builtin import vocabulary
from sparkcli.builtin.tiny_math.task import PHRASES
from sparkcli.builtin.vocabulary import VERDICTS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

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


def build() -> "PreTrainedTokenizerFast":
    """The tokenizer, with its chat template."""
    return vocabulary.build([r"\frac{", "}{", *VERDICTS, *PHRASES], CHAT_TEMPLATE)
