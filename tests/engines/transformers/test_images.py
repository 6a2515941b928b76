"""What the transformers engine does with images beyond the contract: how often, how many at once, and nothing else."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.contract import emitted, rollouts_of
from tests.engines.vision_contract import seeing
from tests.logprobs import naive_logprobs
from tests.models.tiny import load_tiny
from tests.models.vision import write_pictures, write_vision_model
from torch import Tensor

from sparkcli.config import RolloutConfig
from sparkcli.engines.transformers import budget, engine, sampler
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.models.pictures import Pictures
from sparkcli.models.policy import Policy
from sparkcli.models.prompts import encode
from sparkcli.models.sight import place
from sparkcli.records import Prompt, Rollout

CONFIG = RolloutConfig(samples=4, max_tokens=12, batch_size=24, seed=3)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vision_model(tmp_path_factory.mktemp("model"), kind=request.param)


@pytest.fixture
def policy(folder: Path) -> Policy:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def prompts(pictures: dict[str, str]) -> list[Prompt]:
    return seeing(pictures)


@pytest.fixture
def looked(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Pixels of each pass of the vision tower, and what came out."""
    passes: list[tuple[Tensor, Tensor]] = []
    tower: Any = policy.network.base_model.visual
    forward = tower.forward

    def look(pixels: Tensor, **inputs: Any) -> Any:
        output = forward(pixels, **inputs)
        passes.append((pixels, output.pooler_output))
        return output

    monkeypatch.setattr(tower, "forward", look)
    return passes


def sampled(policy: Policy, prompts: list[Prompt], config: RolloutConfig = CONFIG) -> list[list[Rollout]]:
    return list(TransformersEngine(policy).sample(prompts, config))


def patches_of(policy: Policy, prompts: list[Prompt]) -> int:
    return sum(len(encode(prompt, policy.reader).pixels.get("pixel_values", ())) for prompt in prompts)


@pytest.mark.parametrize("batch_size", [4, 8, 24, 64])
def test_each_image_is_looked_at_once_for_all_samples(
    policy: Policy, prompts: list[Prompt], looked: list[tuple[Tensor, Tensor]], batch_size: int
) -> None:
    sampled(policy, prompts, RolloutConfig(samples=4, max_tokens=12, batch_size=batch_size))
    assert sum(len(pixels) for pixels, _ in looked) == patches_of(policy, prompts)
    assert len(looked) == (1 if batch_size >= 24 else len(looked)) <= len(prompts)


def test_the_vision_tower_attends_as_ever(
    policy: Policy, prompts: list[Prompt], looked: list[tuple[Tensor, Tensor]]
) -> None:
    sampled(policy, prompts)
    seen = [place(policy.network, encode(prompt, policy.reader)) for prompt in prompts if prompt.id != "none"]
    ((pixels, features),) = looked
    network: Any = policy.network
    assert network.base_model.visual.config._attn_implementation == "sdpa"
    grid = torch.cat([one.pixels["image_grid_thw"] for one in sorted(seen, key=lambda one: -len(one.token_ids))])
    with torch.no_grad():
        alone = network.base_model.get_image_features(pixels, image_grid_thw=grid).pooler_output
    torch.testing.assert_close(features, torch.cat(list(alone)), rtol=0, atol=0)


def test_patches_run_in_pieces_that_fit(
    policy: Policy, prompts: list[Prompt], looked: list[tuple[Tensor, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = emitted(sampled(policy, prompts))
    looked.clear()
    monkeypatch.setattr(budget, "PREFILL_TOKENS", 150)
    assert emitted(sampled(policy, prompts)) == whole
    alone = patches_of(policy, [prompt for prompt in prompts if prompt.id == "large"])
    assert alone > 150
    assert len(looked) > 2 and all(len(pixels) <= 150 or len(pixels) == alone for pixels, _ in looked)


def test_where_pixels_cannot_be_kept_they_are_made_again(
    policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sampled(policy, prompts)
    monkeypatch.setattr(engine, "Pictures", partial(Pictures, room=0))
    assert sampled(policy, prompts) == whole


def test_an_image_that_is_gone_when_it_is_read_again_loses_its_prompt_alone(
    policy: Policy, prompts: list[Prompt], pictures: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(pictures["odd"], tmp_path))
    going = Prompt(id="going", prompt="?", images=(str(path),))
    monkeypatch.setattr(engine, "Pictures", partial(Pictures, room=0))
    complete = sampler.Sampler.complete

    def complete_later(*given: Any) -> None:
        path.unlink(missing_ok=True)
        complete(*given)

    monkeypatch.setattr(sampler.Sampler, "complete", complete_later)
    lost, *others = sampled(policy, [going, *prompts])
    assert [len(lost), lost[0].finish_reason] == [1, "error"] and "'going': image 1" in (lost[0].error or "")
    assert emitted(others) == emitted(sampled(policy, prompts))


def test_where_memory_runs_out_over_images_less_is_run_at_once(
    policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = emitted(sampled(policy, prompts))
    tower: Any = policy.network.base_model.visual
    forward = tower.forward
    largest: list[int] = []

    def starved(pixels: Tensor, **inputs: Any) -> Any:
        largest.append(len(pixels))
        if len(pixels) > 220:
            raise MemoryError
        return forward(pixels, **inputs)

    monkeypatch.setattr(tower, "forward", starved)
    assert emitted(sampled(policy, prompts)) == whole
    assert largest[0] > 220 >= largest[-1]


@pytest.mark.parametrize("names", [["one"], ["several"], ["none"], ["amid", "none", "large", "several", "one"]])
def test_greedy_is_what_generate_says(policy: Policy, prompts: list[Prompt], names: list[str]) -> None:
    asked = [prompt for prompt in prompts if prompt.id in names]
    config = RolloutConfig(samples=1, max_tokens=20, temperature=0.0)
    for prompt, group in zip(asked, sampled(policy, asked, config), strict=True):
        encoded = encode(prompt, policy.reader)
        ids_1T = torch.tensor([encoded.token_ids])
        inputs = {**encoded.pixels, **({} if encoded.kinds_1T is None else {"mm_token_type_ids": encoded.kinds_1T})}
        said: Any = policy.network.generate(
            input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T), max_new_tokens=20, do_sample=False,
            output_logits=True, return_dict_in_generate=True, **inputs)
        tokens_T = said.sequences[0, len(encoded.token_ids):]
        assert tokens_T.tolist() == list(group[0].token_ids or ())
        logprobs_T = torch.cat(said.logits).log_softmax(1).gather(1, tokens_T[:, None])[:, 0]
        assert group[0].logprobs == pytest.approx(logprobs_T.tolist(), abs=2e-5)


def test_generate_sees_the_same_images(policy: Policy, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch) -> None:
    """As networks that see and whose prompts cannot be shared are sampled."""
    shared = sampled(policy, prompts)
    monkeypatch.setattr(sampler, "longest_shared", lambda network: 0)
    generated = sampled(policy, prompts)
    assert emitted(generated) == emitted(shared)
    for one, other in zip(rollouts_of(generated), rollouts_of(shared), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=2e-5)


def test_what_the_network_remembers_of_other_calls_does_not_matter(policy: Policy, prompts: list[Prompt]) -> None:
    before = sampled(policy, prompts)
    network: Any = policy.network
    for number in (0, 4):
        encoded = encode(prompts[number], policy.reader)
        network.generate(input_ids=torch.tensor([encoded.token_ids]), mm_token_type_ids=encoded.kinds_1T,
                         attention_mask=torch.ones(1, len(encoded.token_ids), dtype=torch.long), max_new_tokens=2,
                         do_sample=False, **encoded.pixels)
        remembered = network.base_model.rope_deltas.clone()
        assert sampled(policy, prompts) == before
        assert torch.equal(network.base_model.rope_deltas, remembered)


def test_a_sampled_image_token_is_a_token_like_others(policy: Policy, prompts: list[Prompt]) -> None:
    network: Any = policy.network
    marker = network.config.image_token_id
    with torch.no_grad():  # so that it is likely after some contexts
        network.get_output_embeddings().weight[marker] *= 4
    groups = sampled(policy, prompts)
    assert any(marker in (rollout.token_ids or ())[:-1] for group in groups for rollout in group)
    placed = [place(network, encode(prompt, policy.reader)) for prompt in prompts]
    with torch.no_grad():
        logprobs_BT, mask_BT = naive_logprobs(network, placed, [[r.token_ids or () for r in group] for group in groups])
    recorded = torch.tensor([logprob for group in groups for rollout in group for logprob in rollout.logprobs or ()])
    torch.testing.assert_close(recorded, logprobs_BT[mask_BT], rtol=0, atol=5e-5)


def test_fewer_pixels_are_fewer_tokens(folder: Path, pictures: dict[str, str]) -> None:
    prompt = Prompt(id="large", prompt="?", images=(pictures["large"],))
    lengths = [len(sampled(load_tiny(folder, max_pixels=pixels), [prompt])[0][0].prompt_token_ids or ())
               for pixels in (1 << 20, 4096)]
    assert lengths[0] > lengths[1]


def test_the_mark_of_an_image_in_a_text_loses_that_prompt_alone(policy: Policy, prompts: list[Prompt]) -> None:
    marked = Prompt(id="marked", prompt="<|image_pad|>")
    bad, *good = sampled(policy, [marked, *prompts])
    assert "'marked'" in (bad[0].error or "")
    assert emitted(good) == emitted(sampled(policy, prompts))
