"""What reads images is found without knowing its name."""

from pathlib import Path

import pytest
from tests.models.tiny import load_tiny, write_model
from tests.training.visions import KINDS, load, write
from transformers import BartConfig, MllamaConfig

from sparkcli.errors import UsageError
from sparkcli.models.tower import language_modules, vision_parameters


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_the_language_model_and_the_head_reads_images(kind: str, tmp_path: Path) -> None:
    network = load(write(tmp_path, kind))
    found, every = vision_parameters(network).keys(), dict(network.named_parameters()).keys()
    assert found == {name for name in every if not name.startswith(("model.language_model.", "lm_head."))}
    assert {name.split(".")[1] for name in found} == (
        {"vision_tower", "multi_modal_projector"} if kind == "llava" else {"visual"})
    assert network.get_output_embeddings() in language_modules(network)


def test_in_a_model_of_text_nothing_does(tmp_path: Path) -> None:
    network = load_tiny(write_model(tmp_path)).network
    assert not vision_parameters(network)
    assert language_modules(network) == set(network.modules())


def test_a_model_that_looks_by_cross_attention_is_refused(tmp_path: Path) -> None:
    MllamaConfig().save_pretrained(write_model(tmp_path))
    with pytest.raises(UsageError, match="mllama looks at images by cross-attention, which is not supported"):
        load_tiny(tmp_path)


def test_an_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    BartConfig(d_model=16).save_pretrained(write_model(tmp_path))
    with pytest.raises(UsageError, match="bart is an encoder with a decoder, which is not supported"):
        load_tiny(tmp_path)
