"""The tokenizer of a built-in model: byte-level, digits one by one, and one token for each fixed phrase.

Any text can be read, byte by byte; the product's own wordings cost a token for each stretch between two
placeholders. An edit of a wording therefore needs a new checkpoint (a test notices).
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparkcli.builtin.demonstrations import BLANK, DIFFERENT, FINISH, SAME, templates
from sparkcli.builtin.workings import SEPARATOR

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
ROLES = ("system\n", "user\n", "assistant\n")
NOTATION = (SEPARATOR, FINISH, SAME, DIFFERENT, BLANK, r"\boxed{")
VERDICTS = ("Yes", "No")


def phrases(own: Sequence[str]) -> list[str]:
    """A task's `own` phrases, the notation and every fixed stretch of the prompt wordings, each once."""
    kinds = ("pointwise", "pairwise", "reflection")
    texts = [str(template["text"]) for kind in kinds for template in templates(kind)]
    stretches = [stretch for text in texts for stretch in re.split(r"\{\{\w+\}\}", text) if stretch]
    return list(dict.fromkeys([*ROLES, *NOTATION, *own, *stretches]))


def build(own: Sequence[str], chat_template: str, markers: Sequence[str] = ()) -> "PreTrainedTokenizerFast":
    """The tokenizer, with its chat template and further special tokens; `<|im_end|>` ends a reply, padding goes to the
    left."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={symbol: index for index, symbol in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    special = (PAD, START, END, *markers)
    core.add_special_tokens([AddedToken(marker, special=True, normalized=False) for marker in special])
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases(own) if phrase != BLANK])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        chat_template=chat_template,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
