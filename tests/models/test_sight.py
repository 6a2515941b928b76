"""Where prompts with images stand, and their pixels together."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.vision_contract import seeing
from tests.models.architectures import write_architecture
from tests.models.tiny import load_tiny
from tests.models.vision import write_pictures, write_vision_model

from sparkcli.errors import UsageError
from sparkcli.models.policy import Policy
from sparkcli.models.prompts import Encoded, encode
from sparkcli.models.sight import axes, patches, pixel_inputs, place, text
from sparkcli.records import Prompt

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> list[Prompt]:
    return seeing(write_pictures(tmp_path_factory.mktemp("pictures")))


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def policy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load_tiny(write_vision_model(tmp_path_factory.mktemp("model"), kind=request.param))


def own_positions(policy: Policy, encoded: Encoded, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, int]:
    """Those that the network works out by itself, and the one that it gives the next token."""
    base: Any = policy.network.base_model
    seen: list[torch.Tensor] = []
    forward = base.language_model.forward
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(base.language_model, "forward",
                      lambda **inputs: seen.append(inputs["position_ids"]) or forward(**inputs))
        ids_1T = torch.tensor([encoded.token_ids])
        base(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T), mm_token_type_ids=encoded.kinds_1T,
             **encoded.pixels)
    return seen[0][:, 0], len(encoded.token_ids) + int(base.rope_deltas)


def test_positions_are_those_of_the_network(
    policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    for prompt in [prompt for prompt in prompts if prompt.id != "none"]:
        encoded = encode(prompt, policy.reader)
        positions_AT, following = own_positions(policy, encoded, monkeypatch)
        placed = place(policy.network, encoded)
        assert placed.positions_AT is not None
        torch.testing.assert_close(placed.positions_AT, positions_AT)
        assert placed.end == following < len(placed.token_ids)


def test_a_text_stands_on_a_single_axis(policy: Policy) -> None:
    placed = place(policy.network, encode(Prompt(id="x", prompt="2 + 2?"), policy.reader))
    assert placed.positions_AT is None and placed.end == len(placed.token_ids)
    assert axes([placed]) is None


def test_placing_does_not_touch_what_the_network_remembers(policy: Policy, prompts: list[Prompt]) -> None:
    network: Any = policy.network
    network.base_model.rope_deltas = None
    place(network, encode(prompts[0], policy.reader))
    assert network.base_model.rope_deltas is None


def test_pixels_of_several_prompts_follow_each_other(policy: Policy, prompts: list[Prompt]) -> None:
    placed = [place(policy.network, encode(prompt, policy.reader)) for prompt in prompts[:4]]
    joined = pixel_inputs(placed, CPU)
    for name in ("pixel_values", "image_grid_thw"):
        assert torch.equal(joined[name], torch.cat([one.pixels[name] for one in placed if one.pixels]))
    assert axes(placed) == 3
    assert patches(policy.network, joined) == len(joined["pixel_values"])


def test_there_are_no_pixels_of_text() -> None:
    assert pixel_inputs([text([1, 2]), text([3])], CPU) == {}


def test_where_sizes_differ_zeros_fill_up(prompts: list[Prompt], tmp_path: Path) -> None:
    policy = load_tiny(write_architecture(tmp_path, "idefics3"))
    one, several = (place(policy.network, encode(prompts[number], policy.reader)) for number in (0, 2))
    joined = pixel_inputs([one, several], CPU)["pixel_values"]
    pictures = one.pixels["pixel_values"].shape[1]
    assert joined.shape[0] == 2 and joined.shape[1] == several.pixels["pixel_values"].shape[1] > pictures
    assert torch.equal(joined[:1, :pictures], one.pixels["pixel_values"]) and not joined[0, pictures:].any()
    assert patches(policy.network, one.pixels) == pictures * 16
    assert axes([one, replace(several, pixels={})]) is None


def test_image_tokens_that_attend_both_ways_by_their_kinds_are_refused(prompts: list[Prompt], tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """As Molmo2's: kinds of tokens that are not for positions are for masks."""
    policy = load_tiny(write_architecture(tmp_path, "llava"))
    encoded = replace(encode(prompts[0], policy.reader), kinds_1T=torch.zeros(1, 1))
    assert place(policy.network, encoded).positions_AT is None
    monkeypatch.setattr(policy.network.base_model, "forward", lambda input_ids, mm_token_type_ids: None)
    with pytest.raises(UsageError, match="llava: its image tokens attend to each other both ways"):
        place(policy.network, encoded)
