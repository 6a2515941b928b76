"""Small stand-ins: scored rollouts by hand, and samples of any length."""

import math
from collections.abc import Callable

import pytest

from sparkcli.records import Sampling, Scored, Verdict
from sparkcli.training.samples import Sample


@pytest.fixture
def scored() -> Callable[..., Scored]:
    """Builds a scored rollout; give it what the test is about."""

    def build(id: str = "p", sample: int = 0, reward: float | None = 1.0, **fields: object) -> Scored:
        values: dict[str, object] = {
            "prompt": "1 + 1?", "samples": 4, "completion": "2", "prompt_token_ids": (5, 6, 7), "token_ids": (8, 9),
            "logprobs": (-0.5, -0.25), "policy": "start",
            "sampling": Sampling(temperature=1.0, top_p=1.0, top_k=0, seed=0, max_tokens=8, engine="test"),
            "verdict": Verdict(status="correct" if reward else "wrong", verifier="exact"), **fields}
        return Scored(id=id, sample=sample, reward=reward, **values)  # type: ignore[arg-type]

    return build


@pytest.fixture
def sample() -> Callable[..., Sample]:
    """Builds a sample with a prompt and a completion of given lengths."""

    def build(id: str = "p", number: int = 0, prompt: int = 3, completion: int = 2) -> Sample:
        return Sample(id=id, number=number, prompt_T=tuple(range(prompt)), completion_T=tuple(range(completion)),
                      logprobs_T=(-math.log(2),) * completion, temperature=1.0, advantage=1.0)

    return build
