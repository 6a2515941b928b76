"""The shipped checkpoint: small, a plain Hugging Face folder, and in step with the prompt wordings."""

import json
import random
import re
from pathlib import Path

import pytest

from sparkcli.builtin import checkpoint, demonstrations
from sparkcli.builtin.demonstrations import Mixture, templates
from sparkcli.builtin.tiny_math import vocabulary
from sparkcli.builtin.tiny_math.demonstrations import SUBJECT
from sparkcli.builtin.tiny_math.task import problems
from sparkcli.builtin.vocabulary import END
from sparkcli.errors import UsageError

FOLDER = checkpoint("builtin:tiny-math")
KINDS = ("pointwise", "pairwise", "reflection")
CHAT_TOKENS = 5


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="tiny-math"):
        checkpoint("builtin:tiny-maths")


def test_it_is_small_and_complete() -> None:
    files = {path.name for path in FOLDER.iterdir()}
    assert files == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5_000_000


def test_model_and_tokenizer_load_and_agree(tokenizer) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id == model.config.eos_token_id
    assert tokenizer.decode([tokenizer.eos_token_id]) == END


def test_the_chat_template_is_the_prompt_that_the_model_knows(tokenizer) -> None:
    text = [{"role": "user", "content": "What is 11+22+33?"}]
    parts = [{"role": "user", "content": [{"type": "text", "text": "What is 11+22+33?"}]}]
    read = tokenizer.apply_chat_template(text, add_generation_prompt=True, tokenize=False)
    assert read == "<|im_start|>user\nWhat is 11+22+33?<|im_end|><|im_start|>assistant\n"
    assert tokenizer.apply_chat_template(parts, add_generation_prompt=True, tokenize=False) == read


def test_any_text_survives_the_tokenizer(tokenizer) -> None:
    rng = random.Random(0)
    texts = [d.prompt + d.reply for d in (SUBJECT.demonstrate(Mixture(careful=0.5), rng) for _ in range(200))]
    for text in [*texts, "Größe: 5 µm, x ≠ y\t\\frac{1}{2} Yes, No\n\n", "日本 🙂", " . , = "]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_each_fixed_stretch_of_a_wording_is_one_token(tokenizer) -> None:
    """Fails after an edit of a wording: the shipped checkpoint has never read it; make a new one."""
    for kind in KINDS:
        for template in templates(kind):
            for stretch in re.split(r"\{\{\w+\}\}", str(template["text"])):
                assert len(tokenizer(stretch).input_ids) <= 1, (template["name"], stretch)


def test_questions_are_short(tokenizer) -> None:
    for prompt in problems("test", 0, 300):
        ids = tokenizer.apply_chat_template([{"role": "user", "content": prompt.prompt}], add_generation_prompt=True)
        assert len(ids["input_ids"]) <= 20, prompt.prompt


def test_the_shipped_tokenizer_is_what_the_maker_builds() -> None:
    shipped = json.loads((FOLDER / "tokenizer.json").read_text())
    assert json.loads(vocabulary.build().backend_tokenizer.to_str()) == shipped


def test_the_wordings_are_read_where_the_method_keeps_them() -> None:
    assert Path(demonstrations.TEMPLATES).is_dir()
