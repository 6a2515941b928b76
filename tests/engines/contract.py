"""What every engine promises. A test module subclasses `EngineContract` and brings the fixture `model`.

`Faithful` engines sample a network: their tokens and log-probs can be checked against it.
"""

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from tests.logprobs import naive_logprobs

from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines import open_engine
from sparkcli.engines.base import Engine
from sparkcli.method.messages import begun
from sparkcli.models.policy import Policy, load
from sparkcli.models.prompts import encode
from sparkcli.records import Prompt, Rollout, to_json

CONFIG = RolloutConfig(samples=4, max_tokens=24, batch_size=16, seed=1)
PROMPTS = [
    Prompt(id="sum", prompt="What is 12 + 30? Answer in \\boxed{}.", answer="42"),
    Prompt(id="short", prompt="7?", answer="7"),
    Prompt(id="chat", prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2 = ?"}],
           answer="4"),
    Prompt(id="judge", prompt="Is 5 the answer to 2 + 3? Yes or No.", answer="Yes", task="judge"),
    Prompt(id="pair", prompt="Which is right, A: 5 or B: 6?", answer="A", task="compare"),
    Prompt(id="reflect", prompt="An attempt said 9. Solve 4 + 4 afresh.", answer="8", task="reflect"),
    Prompt(id="open", prompt="Say something about π."),
    Prompt(id="begun", prompt=[{"role": "user", "content": "2 + 3 = ?"}, {"role": "assistant", "content": "It is"}],
           answer="5"),
]

LONG = Prompt(id="long", prompt="3 + 4 = 7, " * 27 + "and so?", answer="7")
"""About 300 tokens of the tiny models: samplers that keep a prompt's keys and values do so in blocks of up to 128."""


def emitted(groups: list[list[Rollout]]) -> list[list[tuple[int, ...] | None]]:
    return [[rollout.token_ids for rollout in group] for group in groups]


def rollouts_of(groups: list[list[Rollout]]) -> list[Rollout]:
    return list(chain.from_iterable(groups))


def texts(groups: list[list[Rollout]]) -> list[str]:
    return [rollout.completion for rollout in rollouts_of(groups)]


def assert_same_but_for_rounding(a: list[list[Rollout]], b: list[list[Rollout]]) -> None:
    assert emitted(a) == emitted(b)
    for one, other in zip(rollouts_of(a), rollouts_of(b), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def assert_log_probs_of(policy: Policy, group: list[Rollout], temperature: float) -> None:
    """That recorded log-probs are those of a plain forward pass."""
    with torch.no_grad():
        logprobs_BT, mask_BT = naive_logprobs(
            policy.model, [group[0].prompt_token_ids or ()], [[r.token_ids or () for r in group]], temperature)
    recorded = torch.tensor([logprob for rollout in group for logprob in rollout.logprobs or ()])
    torch.testing.assert_close(recorded, logprobs_BT[mask_BT], rtol=0, atol=1e-4)


class Contract:
    """How the tests reach an engine; an engine that is slow to open, or not exact, says here how it is."""

    def opened(self, model: ModelConfig) -> Engine:
        """An engine with that policy; where opening one takes seconds, one that was opened before, told to load it."""
        return open_engine(model, CONFIG)

    def released(self, engine: Engine) -> None:
        engine.close()

    def assert_same(self, a: list[list[Rollout]], b: list[list[Rollout]]) -> None:
        """That one call is as good as the other. Engines whose batches depend on the clock differ by rounding."""
        assert a == b

    def run(self, model: ModelConfig, prompts: Iterable[Prompt] = PROMPTS, **changes: object) -> list[list[Rollout]]:
        engine = self.opened(model)
        groups = list(engine.sample(prompts, replace(CONFIG, **changes)))
        self.released(engine)
        return groups


class EngineContract(Contract):
    """Promises that need no network to check."""

    def test_a_group_per_prompt_in_the_order_of_the_prompts(self, model: ModelConfig) -> None:
        groups = self.run(model)
        assert [group[0].id for group in groups] == [prompt.id for prompt in PROMPTS]
        for group, prompt in zip(groups, PROMPTS, strict=True):
            assert [rollout.sample for rollout in group] == list(range(CONFIG.samples))
            assert all((r.prompt, r.answer, r.task) == (prompt.prompt, prompt.answer, prompt.task) for r in group)
            assert {rollout.samples for rollout in group} == {CONFIG.samples}

    def test_groups_come_while_prompts_are_still_read(self, model: ModelConfig) -> None:
        def endless() -> Iterable[Prompt]:
            for number in range(10**9):
                yield Prompt(id=str(number), prompt=f"{number} + 1 = ?", answer=str(number + 1))

        stream = iter(self.opened(model).sample(endless(), CONFIG))
        assert [next(stream)[0].id for _ in range(3)] == ["0", "1", "2"]

    def test_every_token_has_its_log_probability(self, model: ModelConfig) -> None:
        for rollout in rollouts_of(self.run(model)):
            assert rollout.token_ids and rollout.prompt_token_ids and rollout.logprobs
            assert len(rollout.logprobs) == len(rollout.token_ids) <= CONFIG.max_tokens
            assert all(logprob <= 1e-6 for logprob in rollout.logprobs)

    def test_a_record_says_how_it_was_drawn(self, model: ModelConfig) -> None:
        rollout = self.run(model, temperature=0.7, top_p=0.9, top_k=20)[0][0]
        sampling = rollout.sampling
        assert sampling is not None and sampling.engine.partition("/")[0] == model.engine
        assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed, sampling.max_tokens) == (
            0.7, 0.9, 20, CONFIG.seed, CONFIG.max_tokens)

    def test_the_same_seed_gives_the_same_bytes(self, model: ModelConfig) -> None:
        self.assert_same(self.run(model), self.run(model))

    def test_another_seed_gives_other_samples(self, model: ModelConfig) -> None:
        assert texts(self.run(model)) != texts(self.run(model, seed=2))

    def test_samples_of_a_group_differ(self, model: ModelConfig) -> None:
        assert all(len({rollout.completion for rollout in group}) > 1 for group in self.run(model, samples=8))

    def test_equal_prompts_with_other_ids_get_other_samples(self, model: ModelConfig) -> None:
        twins = [replace(PROMPTS[0], id=name) for name in ("one", "two")]
        one, two = self.run(model, twins, samples=8)
        assert [r.completion for r in one] != [r.completion for r in two]

    @pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
    def test_the_batch_size_changes_nothing(self, model: ModelConfig, batch_size: int) -> None:
        assert_same_but_for_rounding(self.run(model, batch_size=batch_size), self.run(model))

    def test_the_company_changes_nothing(self, model: ModelConfig) -> None:
        alone = [group for prompt in PROMPTS for group in self.run(model, [prompt])]
        assert_same_but_for_rounding(alone, self.run(model))

    def test_fewer_samples_are_the_first_ones(self, model: ModelConfig) -> None:
        few = self.run(model, samples=2)
        assert_same_but_for_rounding(few, [group[:2] for group in self.run(model)])

    def test_greedy_samples_are_all_alike_whatever_the_seed(self, model: ModelConfig) -> None:
        groups = self.run(model, temperature=0.0)
        assert all(len({rollout.completion for rollout in group}) == 1 for group in groups)
        assert emitted(groups) == emitted(self.run(model, temperature=0.0, seed=5))

    def test_the_limit_of_tokens_is_a_reason_to_end(self, model: ModelConfig) -> None:
        rollouts = rollouts_of(self.run(model, max_tokens=2))
        assert all(len(rollout.token_ids or ()) <= 2 for rollout in rollouts)
        assert "length" in {rollout.finish_reason for rollout in rollouts}

    def test_a_bad_prompt_does_not_lose_the_others(self, model: ModelConfig) -> None:
        long = Prompt(id="long", prompt="x" * 200, answer="1")
        groups = self.run(model, [PROMPTS[0], long, PROMPTS[1]], max_prompt_tokens=100)
        assert [len(group) for group in groups] == [CONFIG.samples, 1, CONFIG.samples]
        bad = groups[1][0]
        assert bad.finish_reason == "error" and bad.completion == "" and bad.token_ids is None
        assert "'long'" in (bad.error or "") and "--max-prompt-tokens" in (bad.error or "")
        assert_same_but_for_rounding(groups[::2], self.run(model, PROMPTS[:2]))

    def test_no_prompts_give_no_groups(self, model: ModelConfig) -> None:
        assert self.run(model, []) == []

    def test_a_policy_swapped_in_equals_a_fresh_load(self, model: ModelConfig, policies: dict[str, Path]) -> None:
        engine = self.opened(model)
        bare = list(engine.sample(PROMPTS, CONFIG))
        for name in ("lora", "lora2", "full", "lora"):
            engine.load_policy(policies[name])
            swapped = list(engine.sample(PROMPTS, CONFIG))
            self.assert_same(swapped, self.run(replace(model, policy=str(policies[name]))))
            assert texts(swapped) != texts(bare)
            assert swapped[0][0].policy != bare[0][0].policy
        engine.load_policy(None)
        self.assert_same(list(engine.sample(PROMPTS, CONFIG)), bare)
        self.released(engine)


class FaithfulContract(EngineContract):
    """Promises of engines that sample the network that `model` names."""

    @pytest.fixture
    def policy(self, model: ModelConfig) -> Policy:
        return load(replace(model, engine="auto"))

    def test_ids_are_those_of_the_tokenizer(self, model: ModelConfig, policy: Policy) -> None:
        for group, prompt in zip(self.run(model), PROMPTS, strict=True):
            for rollout in group:
                assert list(rollout.prompt_token_ids or ()) == encode(prompt, policy.reader).token_ids
                said = [i for i in rollout.token_ids or () if i not in policy.reader.silent_ids]
                assert begun(prompt) + policy.reader.tokenizer.decode(said) == rollout.completion

    @pytest.mark.parametrize("temperature", [0.7, 1.0])
    def test_log_probs_agree_with_a_float32_forward(
        self, model: ModelConfig, policy: Policy, temperature: float
    ) -> None:
        for group in self.run(model, temperature=temperature):
            assert_log_probs_of(policy, group, temperature)

    @pytest.mark.parametrize("path", [("lora", "lora2", None), ("full", None, "full"), ("lora", "full", "lora")])
    def test_a_swap_takes_effect_on_long_prompts(
        self, model: ModelConfig, policies: dict[str, Path], path: tuple[str | None, ...]
    ) -> None:
        engine = self.opened(model)
        for name in path:
            directory = policies[name] if name else None
            list(engine.sample([LONG], CONFIG))
            engine.load_policy(directory)
            (group,) = engine.sample([LONG], CONFIG)
            assert len(group[0].prompt_token_ids or ()) > 256
            assert_log_probs_of(load(replace(model, policy=str(directory) if directory else None)), group, 1.0)
        self.released(engine)

    def test_greedy_takes_the_most_likely_and_records_temperature_1(self, model: ModelConfig, policy: Policy) -> None:
        rollout = self.run(model, PROMPTS[:1], temperature=0.0, samples=1)[0][0]
        ids = torch.tensor([[*(rollout.prompt_token_ids or ()), *(rollout.token_ids or ())]])
        with torch.no_grad():
            logprobs_TV = policy.model(input_ids=ids).logits[0].log_softmax(1)
        best = logprobs_TV[len(rollout.prompt_token_ids or ()) - 1:-1].max(1)
        assert best.indices.tolist() == list(rollout.token_ids or ())
        assert rollout.logprobs == pytest.approx(best.values.tolist(), abs=1e-4)

    def test_nucleus_log_probs_are_renormalised(self, model: ModelConfig) -> None:
        for rollout in rollouts_of(self.run(model, top_k=1)):
            assert rollout.logprobs == pytest.approx([0.0] * len(rollout.logprobs or ()), abs=1e-5)

    def test_reasons_to_end(self, model: ModelConfig, policy: Policy) -> None:
        ends = set(policy.reader.stop_ids)
        rollouts = rollouts_of(self.run(model))
        assert {to_json(rollout)["finish_reason"] for rollout in rollouts} == {"stop", "length"}
        for rollout in rollouts:
            *body, last = rollout.token_ids or ()
            assert not ends.intersection(body)
            assert (last in ends) == (rollout.finish_reason == "stop")
            assert rollout.finish_reason == "stop" or len(rollout.token_ids or ()) == CONFIG.max_tokens

    def test_a_prompt_longer_than_the_context_is_refused_by_name(self, model: ModelConfig) -> None:
        long = Prompt(id="endless", prompt="1 + " * 400, answer="1")
        bad, good = self.run(model, [long, PROMPTS[0]], max_prompt_tokens=10**6)
        error = bad[0].error or ""
        assert bad[0].finish_reason == "error" and "'endless'" in error and "context" in error
        self.assert_same([good], self.run(model, PROMPTS[:1]))
