"""Rollouts whose sampler did not say all get what they lack from the policy that is trained, and train alike.

Oracle: rollouts of the transformers engine with token ids and log-probs taken away.
"""

import copy
import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.tiny import load_tiny, write_model
from tests.training.real import alternately, rollouts
from tests.training.references import gradients_of

from sparkcli.config import ModelConfig, RolloutConfig, TrainConfig
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.errors import InputError, SparkError
from sparkcli.models.policy import Policy, load
from sparkcli.records import Prompt, Sampling, Scored
from sparkcli.training.plan import plan
from sparkcli.training.samples import Sample
from sparkcli.training.scoring import end_marker, with_ids
from sparkcli.training.step import Trainer

CONFIG = TrainConfig(method="full", updates=2, score_missing=True)


def builtin() -> Policy:
    return load(ModelConfig(name="builtin:tiny-math", device="cpu"))


@pytest.fixture(scope="module")
def drawn() -> dict[float, list[Scored]]:
    """Rollouts of the built-in model, complete, by temperature; right and wrong by turns."""
    return {temperature: alternately(rollouts(temperature=temperature, max_tokens=32)) for temperature in (1.0, 0.7)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A random model with every byte a token and a chat template."""
    return load_tiny(write_model(tmp_path_factory.mktemp("tiny"), eos_bias=2.0))


def bare(record: Scored) -> Scored:
    """What a server that gives text alone leaves of a rollout."""
    return dataclasses.replace(record, prompt_token_ids=None, token_ids=None, logprobs=None, policy="openai:served")


def unscored(record: Scored) -> Scored:
    """What a server leaves whose log-probs are not those of the sampling distribution."""
    return dataclasses.replace(record, logprobs=None)


def trained_on(records: Sequence[Scored], config: TrainConfig = CONFIG) -> tuple[dict[str, Any], Trainer, list[Sample]]:
    """Metrics of a phase on the built-in model, the trainer, and the samples as the updates saw them."""
    trainer, seen = Trainer(builtin(), config), []
    update = trainer._update

    def watched(parts: Sequence[list[Sample]], watch: Any) -> Any:
        seen.extend(sample for part in parts for sample in part)
        return update(parts, watch)

    trainer._update = watched  # type: ignore[method-assign]
    metrics = trainer.step(records)
    return metrics, trainer, sorted(seen, key=lambda sample: sample.place)


# What is computed.


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_text_alone_gets_the_ids_and_log_probs_that_the_engine_recorded(drawn: dict[float, list[Scored]],
                                                                        temperature: float) -> None:
    records = drawn[temperature]
    metrics, _, samples = trained_on([bare(record) for record in records])
    assert len(samples) == len(records) == metrics["scored_missing"]
    for sample, record in zip(samples, records, strict=True):
        assert (sample.prompt_T, sample.completion_T) == (record.prompt_token_ids, record.token_ids)
        assert sample.logprobs_T == pytest.approx(record.logprobs, abs=1e-5)


def test_a_random_models_text_too(tiny: Policy) -> None:
    """Not every byte that it draws is text: what does not come back as the same ids is a text all the same."""
    prompts = [Prompt(id=f"p{i}", prompt=f"What is {i} + {i}?") for i in range(6)]
    config = RolloutConfig(samples=4, max_tokens=12)
    groups = TransformersEngine(tiny).sample(prompts, config)
    records = alternately([rollout for group in groups for rollout in group])
    made = with_ids([bare(record) for record in records], tiny.reader)
    texts = tiny.reader.texts(record.token_ids or () for record in made)
    assert texts == [record.completion for record in records]
    assert [record.prompt_token_ids for record in made] == [record.prompt_token_ids for record in records]
    stopped = [record.finish_reason == "stop" for record in records]
    assert [(record.token_ids or (0,))[-1] in tiny.reader.stop_ids for record in made] == stopped
    assert {True, False} == set(stopped)


@pytest.mark.parametrize("change", [bare, unscored])
@pytest.mark.parametrize("correction", ["none", "truncate"])
def test_training_on_them_is_training_on_the_originals(drawn: dict[float, list[Scored]], change: Any,
                                                       correction: Any) -> None:
    config = dataclasses.replace(CONFIG, correction=correction)
    expected, whole, _ = trained_on(drawn[0.7], config)
    found, scored, _ = trained_on([change(record) for record in drawn[0.7]], config)
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    assert found["tokens"] == expected["tokens"]
    assert (expected["scored_missing"], found["scored_missing"]) == (0, 24)
    assert (expected["corrected"], found["corrected"]) == (24 if correction == "truncate" else 0, 0)
    for name, parameter in whole.parameters.items():
        assert (parameter - scored.parameters[name]).abs().max() <= 2e-6, name  # AdamW divides by tiny second moments


@pytest.mark.parametrize("settings", [{"kl_in": "reward", "kl": 0.1}, {"loss": "gspo"}, {"entropy_bonus": 0.01},
                                      {"constant_groups": "keep"}])
def test_every_objective_takes_them(drawn: dict[float, list[Scored]], settings: dict[str, Any]) -> None:
    config = dataclasses.replace(CONFIG, method="lora", updates=1, **settings)
    expected, gradients = gradients_of(Trainer(builtin(), config), drawn[1.0])
    found, also = gradients_of(Trainer(builtin(), config), [bare(record) for record in drawn[1.0]])
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-6)
    for name, gradient in gradients.items():
        assert torch.allclose(also[name], gradient, atol=1e-6, rtol=1e-3), name


def test_the_ratio_is_one_before_the_first_update(drawn: dict[float, list[Scored]]) -> None:
    """However they are cut into forward passes."""
    config = dataclasses.replace(CONFIG, updates=1, tokens_per_batch=100)
    metrics, _, _ = trained_on([bare(record) for record in drawn[0.7]], config)
    assert (metrics["ratio"], metrics["ratio_max"]) == pytest.approx((1, 1), abs=1e-5)
    assert metrics["micro_batches"] > 5


def test_each_phase_scores_with_the_weights_that_it_starts_from(drawn: dict[float, list[Scored]]) -> None:
    """As in a loop, whose server gives text alone."""
    trainer = Trainer(builtin(), dataclasses.replace(CONFIG, updates=1, lr=1e-4))
    texts = [bare(record) for record in drawn[1.0]]
    first, second = trainer.step(texts), trainer.step(texts)
    assert (second["ratio"], second["ratio_max"]) == pytest.approx((1, 1), abs=1e-5)
    assert second["kl"] > 10 * abs(first["kl"])


@pytest.mark.parametrize("sampling", [None, 0.0])
def test_an_unknown_temperature_and_greedy_are_scored_at_1(drawn: dict[float, list[Scored]],
                                                           sampling: float | None) -> None:
    records = drawn[1.0]
    how = sampling if sampling is None else dataclasses.replace(records[0].sampling or Sampling(
        temperature=1.0, top_p=1.0, top_k=0, seed=0, max_tokens=32, engine="test"), temperature=sampling)
    metrics, _, samples = trained_on([dataclasses.replace(bare(record), sampling=how) for record in records])
    assert {sample.temperature for sample in samples} == {1.0}
    assert metrics["biased_sampling"] == 0
    assert samples[0].logprobs_T == pytest.approx(records[0].logprobs, abs=1e-5)


# What is left as it is.


def test_a_mixed_group_keeps_what_was_recorded(drawn: dict[float, list[Scored]],
                                               caplog: pytest.LogCaptureFixture) -> None:
    """Of each four: complete, text alone, without log-probs, and without a reward, which is not looked at."""
    def changed(record: Scored) -> Scored:
        if record.sample == 3:
            return dataclasses.replace(bare(record), reward=None)
        far = dataclasses.replace(record, logprobs=tuple(value - 0.25 for value in record.logprobs or ()))
        return [far, bare(record), unscored(record)][record.sample]

    given = [changed(record) for record in drawn[1.0]]
    with caplog.at_level(logging.WARNING):
        metrics, _, samples = trained_on(given)
    assert (metrics["scored_missing"], metrics["null_rewards"], metrics["samples"]) == (12, 6, 18)
    for sample, record in zip(samples, (r for r in drawn[1.0] if r.sample != 3), strict=True):
        offset = 0.25 if record.sample == 0 else 0.0
        assert (sample.prompt_T, sample.completion_T) == (record.prompt_token_ids, record.token_ids)
        assert sample.logprobs_T == pytest.approx([value - offset for value in record.logprobs or ()], abs=1e-5)
    assert [record.message for record in caplog.records] == [
        "12 of 24 rollouts have no log-probs (6 text alone, 6 with token ids): they get those of the policy that is "
        "updated, as if it had drawn them"]


def test_ids_that_the_tokenizer_would_not_choose_are_kept(drawn: dict[float, list[Scored]]) -> None:
    odd = dataclasses.replace(unscored(drawn[1.0][0]), token_ids=(16, 16, 258), completion="something else")
    only_prompt = dataclasses.replace(bare(drawn[1.0][1]), prompt_token_ids=(7, 8, 9))
    first, second = with_ids([odd, only_prompt], builtin().reader)
    assert (first.token_ids, first.prompt_token_ids) == ((16, 16, 258), drawn[1.0][0].prompt_token_ids)
    assert (second.token_ids, second.prompt_token_ids) == (drawn[1.0][1].token_ids, (7, 8, 9))


def test_log_probs_of_tokens_that_are_not_known_are_not_believed(drawn: dict[float, list[Scored]]) -> None:
    no_prompt = dataclasses.replace(drawn[1.0][0], prompt_token_ids=None)
    no_ids = dataclasses.replace(drawn[1.0][1], token_ids=None)
    assert [record.logprobs for record in with_ids([no_prompt, no_ids], builtin().reader)] == [None, None]


def test_they_are_never_stale_but_complete_ones_are(drawn: dict[float, list[Scored]]) -> None:
    texts = [dataclasses.replace(unscored(record), policy="older") for record in drawn[1.0][:8]]
    metrics, _, _ = trained_on(texts)
    assert (metrics["stale_policy"], metrics["corrected"], metrics["scored_missing"]) == (0, 0, 8)
    mixed = [*texts[:6], *(dataclasses.replace(record, policy="older") for record in drawn[1.0][6:8])]
    with pytest.raises(InputError, match=r"sample 2: policy: expected .* found older \(2 of 8 rollouts are stale\)"):
        trained_on(mixed)
    allowed, _, _ = trained_on(mixed, dataclasses.replace(CONFIG, allow_stale=True))
    assert (allowed["stale_policy"], allowed["corrected"], allowed["scored_missing"]) == (2, 2, 6)


def test_without_anything_missing_nothing_is_said_or_changed(drawn: dict[float, list[Scored]],
                                                             caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _, found, _ = trained_on(drawn[1.0])
    _, expected, _ = trained_on(drawn[1.0], dataclasses.replace(CONFIG, score_missing=False))
    assert not caplog.records
    assert all(torch.equal(parameter, found.parameters[name]) for name, parameter in expected.parameters.items())


# The end marker.


def test_the_end_marker_is_the_one_that_the_chat_template_writes(tiny: Policy) -> None:
    """Gemma's tokenizer names another end of sequence than its template closes messages with."""
    tokenizer = copy.deepcopy(tiny.reader.tokenizer)
    tokenizer.eos_token = "<|endoftext|>"
    reader = dataclasses.replace(tiny.reader, tokenizer=tokenizer, stop_ids=sorted({256, 258}))
    assert end_marker(reader) == tokenizer.convert_tokens_to_ids("<|im_end|>") == 258
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    assert end_marker(reader) == 256
    tokenizer.chat_template = None
    assert end_marker(reader) == 256


def test_a_text_that_was_cut_has_no_end_marker(drawn: dict[float, list[Scored]]) -> None:
    record = dataclasses.replace(bare(drawn[1.0][0]), completion="12")
    stopped, cut = (dataclasses.replace(record, finish_reason=reason) for reason in ("stop", "length"))  # type: ignore[arg-type]
    reader = builtin().reader
    first, second = (with_ids([each], reader)[0].token_ids or () for each in (stopped, cut))
    assert first == (*second, 258)
    nothing = with_ids([dataclasses.replace(cut, completion="")], reader)[0]
    assert nothing.token_ids == ()
    assert trained_on([dataclasses.replace(cut, completion=""), dataclasses.replace(
        stopped, sample=1, reward=0.0)])[0]["samples"] == 1


# What is refused.


def test_without_the_setting_text_alone_is_named(drawn: dict[float, list[Scored]]) -> None:
    records = [*drawn[1.0][:1], bare(drawn[1.0][1])]
    with pytest.raises(InputError, match=r"sample 1: text alone, as servers .* --score-missing"):
        trained_on(records, dataclasses.replace(CONFIG, score_missing=False))


@pytest.mark.parametrize(("fields", "message"), [
    ({"prompt": "1 + 1? " * 400}, r"prompt 'p': \d+ tokens leave no room in the model's context of 512"),
    ({"images": ("a.png",)}, r"prompt 'p': has images, and .* reads text only"),
    ({"prompt": "1 + 1? " * 60, "completion": "2 " * 60},
     r"prompt 'p', sample 0: \d+ tokens of prompt and completion are more than the model's context of 512"),
    ({"prompt_token_ids": (5, 999), "token_ids": (5,)},
     r"prompt 'p', sample 0: prompt_token_ids: expected ids below the vocabulary's 259, found 999"),
])
def test_what_cannot_be_read_is_named(tiny: Policy, scored: Callable[..., Scored], fields: dict[str, object],
                                      message: str) -> None:
    record = dataclasses.replace(bare(scored()), **fields)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        Trainer(load_tiny(Path(tiny.name)), CONFIG).step([record])


def test_texts_that_the_tokenizer_cannot_spell_are_counted(fresh: Callable[..., Policy], scored: Callable[..., Scored],
                                                           caplog: pytest.LogCaptureFixture) -> None:
    """Of that model's 48 words none is a number."""
    with caplog.at_level(logging.WARNING):
        made = with_ids([bare(scored()), bare(scored(sample=1, completion="w7"))], fresh().reader)
    assert [record.token_ids for record in made] == [(0, 2), (7, 2)]
    assert caplog.records[0].message.endswith("; 1 texts do not come back from the tokenizer as they were")


# Plans and probes.


def test_a_plan_counts_them_and_is_what_the_phase_does(drawn: dict[float, list[Scored]]) -> None:
    records = [bare(record) if record.sample % 2 else record for record in drawn[1.0]]
    planned = plan(records, ModelConfig(name="builtin:tiny-math", device="cpu"), CONFIG)
    done, _, _ = trained_on(records)
    for name in ("samples", "updates", "micro_batches", "tokens", "scored_missing", "stale_policy"):
        assert planned[name] == done[name], name
    assert planned["scored_missing"] == 12


def test_a_probe_leaves_them_out(drawn: dict[float, list[Scored]], caplog: pytest.LogCaptureFixture) -> None:
    records = [bare(record) if record.sample == 1 else record for record in drawn[1.0]]
    with caplog.at_level(logging.WARNING):
        report = Trainer(builtin(), CONFIG).probe(records)
    assert report["samples"] == 18 and report["ratio"]["max"] == pytest.approx(1, abs=1e-4)
    assert [record.message for record in caplog.records] == [
        "6 of 24 rollouts have no log-probs: nothing to compare with, left out"]
    assert Trainer(builtin(), CONFIG).probe([bare(record) for record in records])["tokens"] == 0


def test_log_probs_that_are_no_numbers_are_told(drawn: dict[float, list[Scored]]) -> None:
    trainer = Trainer(builtin(), CONFIG)
    with torch.no_grad():
        next(iter(trainer.parameters.values())).fill_(math.nan)
    with pytest.raises(SparkError, match="its log-probs are not finite under the policy"):
        trainer.step([bare(record) for record in drawn[1.0]])
