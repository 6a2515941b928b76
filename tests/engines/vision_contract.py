"""What every engine that shows a network images promises.

A test module subclasses `VisionContract` and brings the fixture `model`, which names `folder`; the hooks are those of
`tests.engines.contract.Contract`.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tests.engines.contract import CONFIG, Contract, assert_same_but_for_rounding, emitted, rollouts_of, texts
from tests.models.tiny import write_policies
from tests.models.vision import Kind, write_pictures, write_vision_model
from torch import Tensor

from sparkcli.config import ModelConfig
from sparkcli.method.messages import begun
from sparkcli.models.policy import Policy, load
from sparkcli.models.prompts import encode
from sparkcli.records import Prompt, Rollout


def seeing(pictures: dict[str, str]) -> list[Prompt]:
    """Prompts with one image, several, one amid the text, one in the record itself, none, and a begun reply."""
    inline = "data:image/png;base64," + base64.b64encode(Path(pictures["small"]).read_bytes()).decode()
    return [
        Prompt(id="one", prompt="What is it?", images=(pictures["square"],), answer="4"),
        Prompt(id="none", prompt="2 + 2 = ?", answer="4"),
        Prompt(id="several", prompt="Which is wider?", images=(pictures["wide"], pictures["odd"]), answer="A"),
        Prompt(id="amid", prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": [
            {"type": "text", "text": "This "}, {"type": "image"}, {"type": "text", "text": " or "},
            {"type": "image_url", "image_url": {"url": pictures["other"]}}, {"type": "text", "text": "?"}]}],
            images=(pictures["odd"],)),
        Prompt(id="large", prompt="How many?", images=(pictures["large"],)),
        Prompt(id="inline", prompt="And this?", images=(inline,)),
        Prompt(id="begun", images=(pictures["small"],), prompt=[{"role": "user", "content": "Which colour?"},
                                                                {"role": "assistant", "content": "It is"}]),
    ]


def forward_logprobs(policy: Policy, prompt: Prompt, rollout: Rollout) -> Tensor:
    """Of the tokens of a completion `[T, V]`, by the network's own forward pass, which finds positions by itself.

    Up to a token that stands for an image, if one was sampled: transformers would look for the image.
    """
    encoded = encode(prompt, policy.reader)
    completion = list(rollout.token_ids or ())
    marker = policy.network.config.image_token_id
    completion = completion[:completion.index(marker) + 1] if marker in completion else completion
    ids_1T = torch.tensor([encoded.token_ids + completion[:-1]])
    inputs = dict(encoded.pixels)
    if encoded.kinds_1T is not None:
        text_1T = torch.zeros_like(ids_1T[:, len(encoded.token_ids):])
        inputs["mm_token_type_ids"] = torch.cat([encoded.kinds_1T, text_1T], 1)
    with torch.no_grad():
        logits_TV = policy.model(input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T), **inputs).logits[0]
    return logits_TV[len(encoded.token_ids) - 1:].float()


class VisionContract(Contract):
    """Promises on prompts with images and without, in one batch."""

    kind: ClassVar[Kind] = "qwen2_5_vl"
    tolerance: ClassVar[float] = 1e-3
    """Of a log-probability, against a forward pass in float32."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A random model that sees, and ends about half of its completions within two dozen tokens."""
        return write_vision_model(tmp_path_factory.mktemp("sees"), kind=cls.kind, eos_bias=0.7)

    @pytest.fixture(scope="class")
    @classmethod
    def pictures(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
        return write_pictures(tmp_path_factory.mktemp("pictures"))

    @pytest.fixture(scope="class")
    @classmethod
    def seen_policies(cls, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """Two adapters, and full weights, of the model."""
        return write_policies(folder, tmp_path_factory.mktemp("policies"))

    @pytest.fixture
    def prompts(self, pictures: dict[str, str]) -> list[Prompt]:
        return seeing(pictures)

    @pytest.fixture
    def policy(self, model: ModelConfig) -> Policy:
        return load(ModelConfig(name=model.name, dtype="float32", device="cpu"))

    def assert_faithful(self, policy: Policy, prompts: Sequence[Prompt], groups: list[list[Rollout]],
                        temperature: float = 1.0) -> None:
        """Recorded log-probs are those of a forward pass of the network with the images."""
        for prompt, group in zip(prompts, groups, strict=True):
            for rollout in group:
                assert rollout.error is None
                logprobs_TV = (forward_logprobs(policy, prompt, rollout) / temperature).log_softmax(1)
                ids_T = torch.tensor((rollout.token_ids or ())[:len(logprobs_TV)])
                expected = logprobs_TV.gather(1, ids_T[:, None])[:, 0].tolist()
                assert list(rollout.logprobs or ())[:len(expected)] == pytest.approx(expected, abs=self.tolerance)

    def test_ids_of_prompts_are_those_that_the_network_reads(
        self, model: ModelConfig, policy: Policy, prompts: list[Prompt]
    ) -> None:
        groups = self.run(model, prompts)
        assert [group[0].id for group in groups] == [prompt.id for prompt in prompts]
        for prompt, group in zip(prompts, groups, strict=True):
            expected = encode(prompt, policy.reader).token_ids
            for rollout in group:
                assert list(rollout.prompt_token_ids or ()) == expected
                assert rollout.images == prompt.images and rollout.prompt == prompt.prompt
                said = [i for i in rollout.token_ids or () if i not in policy.reader.silent_ids]
                assert begun(prompt) + policy.reader.tokenizer.decode(said) == rollout.completion

    @pytest.mark.parametrize("temperature", [0.7, 1.0])
    def test_log_probs_agree_with_a_forward_that_sees(
        self, model: ModelConfig, policy: Policy, prompts: list[Prompt], temperature: float
    ) -> None:
        groups = self.run(model, prompts, temperature=temperature)
        assert [len(group) for group in groups] == [CONFIG.samples] * len(prompts)
        self.assert_faithful(policy, prompts, groups, temperature)

    def test_greedy_takes_the_most_likely(self, model: ModelConfig, policy: Policy, prompts: list[Prompt]) -> None:
        for prompt, group in zip(prompts, self.run(model, prompts, temperature=0.0, samples=1), strict=True):
            best_T = forward_logprobs(policy, prompt, group[0]).argmax(1)
            assert best_T.tolist() == list(group[0].token_ids or ())[:len(best_T)]

    def test_another_image_is_another_prompt(
        self, model: ModelConfig, policy: Policy, pictures: dict[str, str]
    ) -> None:
        prompts = [Prompt(id="same", prompt="What is it?", images=(pictures[name],)) for name in ("square", "other")]
        groups = self.run(model, prompts)
        assert groups[0][0].prompt_token_ids == groups[1][0].prompt_token_ids
        assert texts(groups[:1]) != texts(groups[1:])
        self.assert_faithful(policy, prompts, groups)

    def test_images_come_in_their_order(self, model: ModelConfig, policy: Policy, pictures: dict[str, str]) -> None:
        pair = (pictures["square"], pictures["other"])
        prompts = [Prompt(id="same", prompt="Which?", images=images) for images in (pair, pair[::-1])]
        groups = self.run(model, prompts)
        assert texts(groups[:1]) != texts(groups[1:])
        self.assert_faithful(policy, prompts, groups)

    def test_prompts_may_share_an_image(self, model: ModelConfig, policy: Policy, pictures: dict[str, str]) -> None:
        prompts = [Prompt(id=f"{number}", prompt=text, images=(pictures["wide"],))
                   for number, text in enumerate(["What is it?", "What is it?", "How many are there in it?"])]
        groups = self.run(model, prompts, samples=8)
        assert emitted(groups[:1]) != emitted(groups[1:2])
        self.assert_faithful(policy, prompts, groups)

    def test_the_same_seed_gives_the_same_and_another_others(self, model: ModelConfig, prompts: list[Prompt]) -> None:
        groups = self.run(model, prompts)
        self.assert_same(groups, self.run(model, prompts))
        assert texts(groups) != texts(self.run(model, prompts, seed=2))

    @pytest.mark.parametrize("batch_size", [1, 5, 64])
    def test_the_batch_size_changes_nothing_of_images(
        self, model: ModelConfig, prompts: list[Prompt], batch_size: int
    ) -> None:
        assert_same_but_for_rounding(self.run(model, prompts, batch_size=batch_size), self.run(model, prompts))

    def test_a_bad_image_is_named_and_does_not_lose_the_others(
        self, model: ModelConfig, pictures: dict[str, str], prompts: list[Prompt], tmp_path: Path
    ) -> None:
        cut = tmp_path / "cut.png"
        cut.write_bytes(Path(pictures["large"]).read_bytes()[:500])
        bad = [Prompt(id="missing", prompt="?", images=(pictures["odd"], str(tmp_path / "absent.png"))),
               Prompt(id="broken", prompt="?", images=(str(cut),)),
               Prompt(id="fewer", prompt=[{"role": "user", "content": [{"type": "image"}, {"type": "image"}]}],
                      images=(pictures["odd"],))]
        groups = self.run(model, [prompts[0], *bad, *prompts[1:]])
        errors = [group[0].error or "" for group in groups[1:4]]
        assert [len(group) for group in groups[1:4]] == [1, 1, 1]
        assert "'missing'" in errors[0] and "image 2" in errors[0] and "absent.png" in errors[0]
        assert "'broken'" in errors[1] and "image 1" in errors[1] and "cut.png" in errors[1]
        assert "'fewer'" in errors[2] and "1 for 2 places" in errors[2]
        assert_same_but_for_rounding([groups[0], *groups[4:]], self.run(model, prompts))

    def test_a_prompt_that_does_not_fit_is_refused_and_never_cut(
        self, model: ModelConfig, policy: Policy, prompts: list[Prompt], pictures: dict[str, str]
    ) -> None:
        long = Prompt(id="long", prompt="?", images=(pictures["large"],))
        limit = len(encode(long, policy.reader).token_ids) - 1
        many = Prompt(id="endless", prompt="?", images=(pictures["large"],) * 25)
        short, refused, endless = self.run(model, [prompts[0], long, many], max_prompt_tokens=limit)
        for group in (refused, endless):
            assert group[0].finish_reason == "error" and group[0].token_ids is None
        assert "'long'" in (refused[0].error or "") and "--max-pixels" in (refused[0].error or "")
        (endless,) = self.run(model, [many], max_prompt_tokens=10**6)
        assert "'endless'" in (endless[0].error or "") and "context" in (endless[0].error or "")
        assert len(short) == CONFIG.samples and short[0].error is None

    @pytest.mark.parametrize("path", [("lora", "lora2", None), ("full", None, "lora")])
    def test_a_swap_takes_effect_on_prompts_with_images(
        self, model: ModelConfig, seen_policies: dict[str, Path], prompts: list[Prompt], path: tuple[str | None, ...]
    ) -> None:
        engine = self.opened(model)
        bare = list(engine.sample(prompts, CONFIG))
        for name in path:
            directory = seen_policies[name] if name else None
            engine.load_policy(directory)
            groups = list(engine.sample(prompts, CONFIG))
            assert (emitted(groups) == emitted(bare)) == (name is None)
            policy = load(ModelConfig(name=model.name, policy=str(directory) if directory else None, device="cpu"))
            self.assert_faithful(policy, prompts, groups)
        self.released(engine)

    def test_completions_end_by_marker_and_by_limit(self, model: ModelConfig, prompts: list[Prompt]) -> None:
        assert {rollout.finish_reason for rollout in rollouts_of(self.run(model, prompts))} == {"stop", "length"}
