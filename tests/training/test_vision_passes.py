"""The passes over prompts with images against transformers' own forward pass of each whole sequence, in float64."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.training.test_forward import assert_equal, gradients, loss_of, updated
from tests.training.visions import KINDS, Gallery, load, write
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sparkcli.models.prefix import network_of
from sparkcli.models.tower import vision_parameters
from sparkcli.training.batches import MicroBatch, Way
from sparkcli.training.forward import Scorer, choose


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def small(kind: str, *sizes: tuple[int, int]) -> list[tuple[int, int]]:
    """LLaVA's images have one size."""
    return [(2, 2) for _ in sizes] if kind == "llava" else list(sizes)


def batches(kind: str, gallery: Gallery) -> dict[str, MicroBatch]:
    """Micro-batches that show one image, several, and images in some prompts only."""
    one = gallery.part("one", small(kind, (2, 3)), [3, 1, 6, 6], temperature=0.8)
    two = gallery.part("two", small(kind, (3, 2), (1, 2)), [4, 2])
    none = gallery.part("none", [], [2, 5], words=9)
    return {"one group": MicroBatch([one]), "several images": MicroBatch([two]),
            "mixed": MicroBatch([none, two, one, gallery.part("short", [], [3], words=1)])}


def exact(model: Any, gallery: Gallery, batch: MicroBatch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Log-probs, entropies and gradients by transformers alone: it finds the positions itself."""
    wide = copy.deepcopy(model).double()
    logprobs, entropies = [], []
    for sample in batch.samples:
        encoded = gallery.encoded[sample.id]
        ids_1S = torch.tensor([[*sample.prompt_T, *sample.completion_T]])
        given: dict[str, Any] = dict(encoded.pixels)
        if encoded.pixels and hasattr(network_of(wide).base_model, "get_rope_index"):
            kinds_1T = torch.zeros(1, len(sample.completion_T), dtype=torch.long)
            given["mm_token_type_ids"] = torch.cat([encoded.kinds_1T, kinds_1T], 1)  # type: ignore[list-item]
        logits_TV = wide(input_ids=ids_1S, **given).logits[0, len(sample.prompt_T) - 1:-1]
        logprobs_TV = (logits_TV / sample.temperature).log_softmax(-1)
        logprobs.append(logprobs_TV[torch.arange(len(logits_TV)), torch.tensor(sample.completion_T)])
        entropies.append(-(logprobs_TV.exp() * logprobs_TV).sum(-1))
    found = [pad_sequence(rows, batch_first=True) for rows in (logprobs, entropies)]
    loss_of(*found).backward()
    return found[0].detach(), found[1].detach(), gradients(wide)


def build(folder: Path, trained: str) -> Any:
    """Trained: `language`, `all` weights, or an `adapter` on all linear layers, the vision tower's included."""
    network = load(folder)
    if trained == "adapter":
        torch.manual_seed(0)
        return get_peft_model(network, LoraConfig(r=2, lora_alpha=1, init_lora_weights=False, task_type="CAUSAL_LM",
                                                  target_modules="all-linear")).eval()
    for parameter in vision_parameters(network).values():
        parameter.requires_grad_(trained == "all")
    return network


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("way", "checkpointing"), [
    ("packed", False), ("packed", True), ("shared", False), ("unshared", False), ("unshared", True)])
@pytest.mark.parametrize("trained", ["language", "all", "adapter"])
@pytest.mark.parametrize(("dtype", "within"), [
    (torch.float64, 2e-6), (torch.float32, 5e-5)], ids=["float64", "float32"])  # rounding differs from CPU to CPU
def test_every_way_gives_transformers_numbers(folders: dict[str, Path], kind: str, way: Way, checkpointing: bool,
                                              trained: str, dtype: torch.dtype, within: float) -> None:
    model = build(folders[kind], trained).to(dtype)
    gallery = Gallery(network_of(model))
    for batch in batches(kind, gallery).values():
        logprobs_BT, entropy_BT, found = updated(Scorer(model, network_of(model), checkpointing, way, gallery.place),
                                                 batch)
        expected = exact(model, gallery, batch)
        unused = found.keys() - expected[2].keys()  # LLaVA takes its features from the last layer but one
        assert unused <= {name for name, _ in model.named_parameters() if "vision_tower" in name}
        assert not any(found.pop(name).any() for name in unused)
        assert_equal((logprobs_BT, entropy_BT, found), expected, within)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["packed", "shared"])
def test_the_vision_tower_runs_once_for_each_group(folders: dict[str, Path], kind: str, way: Way) -> None:
    network = load(folders[kind])
    gallery = Gallery(network)
    batch = batches(kind, gallery)["mixed"]
    seen: list[int] = []
    tower = network.base_model.vision_tower if kind == "llava" else network.base_model.visual
    tower.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    updated(Scorer(network, network, False, way, gallery.place), batch)
    patches = sum(len(gallery.encoded[name].pixels["pixel_values"]) for name in ("one", "two"))
    assert seen == [patches], "pixels of both prompts that show images, once, in one pass"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["packed", "shared", "unshared"])
def test_image_tokens_that_show_nothing_are_tokens_like_others(folders: dict[str, Path], kind: str, way: Way) -> None:
    """A policy may sample one; beside prompts with images, where it would take features that are another's."""
    network = load(folders[kind])
    gallery = Gallery(network)
    marker = network.config.image_token_id
    shows = gallery.part("shows", small(kind, (2, 3)), [3, 2], sampled=marker)
    text = gallery.part("text", [], [3], sampled=marker)
    gallery.encoded["text"].token_ids[2] = marker
    row = [*gallery.encoded["text"].token_ids, *text[0].completion_T]
    with torch.no_grad():
        logits_TV = network(input_ids=torch.tensor([row])).logits[0, len(text[0].prompt_T) - 1:-1]
    expected_TV = logits_TV.log_softmax(-1)
    scorer = Scorer(network, network, False, way, gallery.place)
    with scorer.running(), torch.no_grad():
        together_BT = scorer(MicroBatch([shows, text])).logprobs_BT
        alone_BT = scorer(MicroBatch([text])).logprobs_BT
        expected_T = expected_TV[torch.arange(3), torch.tensor(text[0].completion_T)]
    torch.testing.assert_close(alone_BT[0], expected_T, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(together_BT[2], expected_T, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_vision_tower_has_gradients_even_where_nothing_is_shown(folders: dict[str, Path], kind: str) -> None:
    """Processes that cut the weights among them wait for each other's."""
    network = load(folders[kind])
    gallery = Gallery(network)
    blind, _ = MicroBatch([gallery.part("none", [], [2, 5])]), gallery.part("one", small(kind, (2, 3)), [3])
    _, _, found = updated(Scorer(network, network, False, "packed", gallery.place), blind)
    assert found.keys() == dict(network.named_parameters()).keys()
    assert not any(found[name].any() for name in vision_parameters(network))
    for parameter in vision_parameters(network).values():
        parameter.requires_grad_(False)
    _, _, found = updated(Scorer(network, network, False, "packed", gallery.place), blind)
    assert not found.keys() & vision_parameters(network).keys()


@pytest.mark.parametrize("kind", KINDS)
def test_they_run_packed(folders: dict[str, Path], kind: str) -> None:
    network = load(folders[kind])
    assert choose(network, False) == choose(network, True) == "packed"
