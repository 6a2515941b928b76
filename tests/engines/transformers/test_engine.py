"""What the transformers engine adds to the contract."""

from pathlib import Path

import pytest
import torch
from tests.models.tiny import load_tiny, stir

from sparkcli.config import ModelConfig, RolloutConfig, TrainConfig
from sparkcli.engines import open_engine
from sparkcli.models.policy import add_adapter
from sparkcli.records import Prompt

CONFIG = RolloutConfig(samples=2, max_tokens=8)
PROMPT = Prompt(id="x", prompt="1 + 1 = ?", answer="2")


def test_the_trainers_policy_is_shared_not_copied(model_folder: Path) -> None:
    policy = load_tiny(model_folder)
    engine = open_engine(ModelConfig(name="unused"), policy=policy)
    before = list(engine.sample([PROMPT], CONFIG))
    add_adapter(policy, TrainConfig(lora_rank=4, lora_alpha=8))
    assert list(engine.sample([PROMPT], CONFIG)) == before
    stir(policy, scale=0.5)
    assert list(engine.sample([PROMPT], CONFIG)) != before
    assert any(parameter.requires_grad for parameter in policy.model.parameters())


def test_sampling_leaves_torchs_random_numbers_alone(model_folder: Path) -> None:
    engine = open_engine(ModelConfig(name=str(model_folder), device="cpu"))
    state = torch.random.get_rng_state()
    list(engine.sample([PROMPT], CONFIG))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_image_is_the_error_of_its_prompt(model_folder: Path) -> None:
    engine = open_engine(ModelConfig(name=str(model_folder), device="cpu"))
    picture = Prompt(id="picture", prompt="What is it?", images=("a.png",))
    groups = list(engine.sample([picture, PROMPT], CONFIG))
    assert [group[0].finish_reason == "error" for group in groups] == [True, False]
    assert "'picture'" in (groups[0][0].error or "")


def test_a_completion_ends_where_the_context_does(model_folder: Path) -> None:
    engine = open_engine(ModelConfig(name=str(model_folder), device="cpu"))
    long = Prompt(id="long", prompt="1" * 470)
    (group,) = engine.sample([long], RolloutConfig(samples=8, max_tokens=100))
    room = 512 - len(group[0].prompt_token_ids or ())
    assert 0 < room < 50
    lengths = {len(rollout.token_ids or ()) for rollout in group if rollout.finish_reason == "length"}
    assert lengths == {room}


@pytest.mark.parametrize("samples", [1, 5])
def test_a_window_of_prompts_of_all_lengths_keeps_its_order(model_folder: Path, samples: int) -> None:
    engine = open_engine(ModelConfig(name=str(model_folder), device="cpu"))
    prompts = [Prompt(id=str(i), prompt="1" * (i * 37 % 50 + 1)) for i in range(30)]
    groups = list(engine.sample(prompts, RolloutConfig(samples=samples, max_tokens=4, batch_size=12)))
    assert [group[0].id for group in groups] == [prompt.id for prompt in prompts]
    assert [len(group) for group in groups] == [samples] * 30
