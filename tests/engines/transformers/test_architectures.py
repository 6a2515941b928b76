"""Vision-language models of other families, which need no code of their own here."""

from pathlib import Path

import pytest
from tests.engines.vision_contract import forward_logprobs, seeing
from tests.models.architectures import Family, write_architecture
from tests.models.tiny import load_tiny
from tests.models.vision import write_pictures

from sparkcli.config import RolloutConfig
from sparkcli.engines.transformers.engine import TransformersEngine

CONFIG = RolloutConfig(samples=3, max_tokens=12, batch_size=9)


@pytest.mark.parametrize("family", ["llava", "idefics3", "internvl"])
def test_log_probs_of_mixed_batches_are_those_of_a_forward(family: Family, tmp_path: Path) -> None:
    policy = load_tiny(write_architecture(tmp_path / family, family))
    prompts = seeing(write_pictures(tmp_path))
    for prompt, group in zip(prompts, TransformersEngine(policy).sample(prompts, CONFIG), strict=True):
        for rollout in group:
            assert rollout.error is None
            logprobs_TV = forward_logprobs(policy, prompt, rollout).log_softmax(1)
            expected = [float(row_V[token]) for row_V, token in zip(logprobs_TV, rollout.token_ids or (), strict=False)]
            assert list(rollout.logprobs or ())[:len(expected)] == pytest.approx(expected, abs=2e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of the processor itself
def test_image_tokens_that_see_each_other_both_ways_are_refused_by_name(tmp_path: Path) -> None:
    policy = load_tiny(write_architecture(tmp_path / "paligemma", "paligemma"))
    prompts = seeing(write_pictures(tmp_path))[:2]
    seen, plain = TransformersEngine(policy).sample(prompts, CONFIG)
    assert "'one'" in (seen[0].error or "") and "PaliGemmaProcessor gives token_type_ids" in (seen[0].error or "")
    assert plain[0].error is None
