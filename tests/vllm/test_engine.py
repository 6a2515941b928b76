"""What vLLM in this process adds to the contract."""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.contract import CONFIG, LONG, PROMPTS, assert_log_probs_of, assert_same_but_for_rounding, texts
from tests.models.tiny import load_tiny, stir, write_model

from sparkcli.config import ModelConfig, RolloutConfig, TrainConfig
from sparkcli.engines import open_engine
from sparkcli.engines.vllm.containment import contained
from sparkcli.engines.vllm.engine import VLLMEngine
from sparkcli.engines.vllm.opening import USED, import_vllm, lacking
from sparkcli.errors import SparkError, UsageError
from sparkcli.models.policy import add_adapter, save
from sparkcli.records import Prompt

PROMPT = PROMPTS[0]


def opened(folder: Path, config: RolloutConfig = CONFIG, trained: TrainConfig | None = None,
           **changes: Any) -> VLLMEngine:
    return VLLMEngine(ModelConfig(name=str(folder), engine="vllm", **changes), config, beside_trainer=False,
                      trained=trained)


def in_flight(engine: VLLMEngine) -> int:
    return engine._holder.llm.llm_engine.get_num_unfinished_requests()


@pytest.fixture(scope="module")
def engine(model_folder: Path) -> Iterator[VLLMEngine]:
    engine = opened(model_folder, trained=TrainConfig(lora_rank=4))
    yield engine
    engine.close()


class TestOne:
    """One engine for all."""

    def test_prompts_are_read_as_groups_are_taken(self, engine: VLLMEngine) -> None:
        read = itertools.count()
        prompts = (Prompt(id=str(number), prompt=f"{number} + 1 = ?") for number in read)
        stream = engine.sample(prompts, CONFIG)
        next(stream)
        first = next(read)
        next(stream)
        assert 1 < first <= 4 * CONFIG.batch_size // CONFIG.samples + 2
        assert next(read) == first + 2  # one by this test
        stream.close()

    def test_what_nobody_waits_for_is_aborted(self, engine: VLLMEngine) -> None:
        stream = engine.sample(PROMPTS, CONFIG)
        next(stream)
        assert in_flight(engine) > 0
        stream.close()
        assert in_flight(engine) == 0

    def test_two_streams_at_once_do_not_disturb_each_other(self, engine: VLLMEngine) -> None:
        alone = list(engine.sample(PROMPTS, CONFIG))
        pairs = zip(engine.sample(PROMPTS, CONFIG), engine.sample(PROMPTS, CONFIG), strict=True)
        one, two = (list(groups) for groups in zip(*pairs, strict=True))
        assert_same_but_for_rounding(one, alone)
        assert_same_but_for_rounding(two, alone)

    def test_a_swap_ends_what_runs(self, engine: VLLMEngine, policies: dict[str, Path]) -> None:
        stream = engine.sample(PROMPTS, CONFIG)
        next(stream)
        engine.load_policy(policies["lora"])
        assert in_flight(engine) == 0
        with pytest.raises(SparkError, match="policy was changed"):
            list(stream)
        engine.load_policy(None)

    def test_an_adapter_is_loaded_under_a_new_name_each_time(
        self, engine: VLLMEngine, policies: dict[str, Path]
    ) -> None:
        requests = []
        for name in ("lora", "lora2", "lora"):
            engine.load_policy(policies[name])
            requests.append(engine._holder.request)
        assert len({r.lora_int_id for r in requests}) == len({r.lora_name for r in requests}) == 3
        engine.load_policy(None)
        assert engine._holder.request is None

    def test_an_adapter_as_peft_saves_it_is_a_policy(
        self, engine: VLLMEngine, model_folder: Path, policies: dict[str, Path], tmp_path: Path
    ) -> None:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(policies["lora"] / name, tmp_path)
        engine.load_policy(tmp_path)
        policy = load_tiny(model_folder, policy=tmp_path)
        for group in engine.sample(PROMPTS, CONFIG):
            assert_log_probs_of(policy, group, CONFIG.temperature)
            assert group[0].policy == policy.fingerprint
        engine.load_policy(None)

    @pytest.mark.parametrize("held", [None, "lora", "full"])
    def test_a_policy_that_cannot_be_loaded_leaves_the_engine_as_it_was(
        self, engine: VLLMEngine, model_folder: Path, policies: dict[str, Path], tmp_path: Path, held: str | None
    ) -> None:
        policy = load_tiny(model_folder)
        add_adapter(policy, TrainConfig(lora_rank=4))
        save(policy, tmp_path / "odd", {"step": 1}, None)
        settings = tmp_path / "odd" / "adapter_config.json"
        settings.write_text(settings.read_text().replace('"use_dora": false', '"use_dora": true'))
        engine.load_policy(policies[held] if held else None)
        before = list(engine.sample(PROMPTS, CONFIG))
        for broken, reason in ((tmp_path / "missing", "no such directory"), (tmp_path / "odd", "DoRA")):
            with pytest.raises(UsageError, match=reason) as raised:
                engine.load_policy(broken)
            assert "\n" not in str(raised.value)
            assert_same_but_for_rounding(list(engine.sample(PROMPTS, CONFIG)), before)
        engine.load_policy(None)

    def test_where_nothing_can_sleep_rest_does_nothing(self, engine: VLLMEngine) -> None:
        before, llm = list(engine.sample(PROMPTS, CONFIG)), engine._holder.llm
        engine.rest()
        assert_same_but_for_rounding(list(engine.sample(PROMPTS, CONFIG)), before)
        assert engine._holder.llm is llm

    def test_a_completion_ends_where_the_context_does(self, engine: VLLMEngine) -> None:
        long = Prompt(id="long", prompt="1" * 470)
        (group,) = engine.sample([long], replace(CONFIG, samples=8, max_tokens=100))
        room = 512 - len(group[0].prompt_token_ids or ())
        assert {len(r.token_ids or ()) for r in group if r.finish_reason == "length"} == {room}

    def test_an_image_is_the_error_of_its_prompt(self, engine: VLLMEngine) -> None:
        picture = Prompt(id="picture", prompt="What is it?", images=("a.png",))
        groups = list(engine.sample([picture, PROMPT], CONFIG))
        assert [group[0].finish_reason == "error" for group in groups] == [True, False]
        assert "'picture'" in (groups[0][0].error or "")

    @pytest.mark.parametrize("temperature", [0.001, 3.0])
    def test_a_temperature_that_vllm_would_not_take_is_an_error(self, engine: VLLMEngine, temperature: float) -> None:
        with pytest.raises(UsageError, match="temperature"):
            list(engine.sample([PROMPT], replace(CONFIG, temperature=temperature)))

    def test_the_smallest_nucleus_is_the_most_likely_token(self, engine: VLLMEngine) -> None:
        nucleus, greedy = (list(engine.sample(PROMPTS, replace(CONFIG, **changes)))
                           for changes in ({"top_p": 0.0}, {"temperature": 0.0}))
        assert texts(nucleus) == texts(greedy)

    def test_only_one_engine_is_open_at_a_time(self, engine: VLLMEngine, model_folder: Path) -> None:
        with pytest.raises(UsageError, match="only one vllm engine"):
            opened(model_folder)
        assert list(engine.sample([PROMPT], CONFIG))

    def test_the_process_around_it_stays_as_it_was(self, engine: VLLMEngine) -> None:
        torch.set_num_threads(torch.get_num_threads())  # vLLM would only warn, which is an error here
        states = torch.get_rng_state(), random.getstate()
        list(engine.sample(PROMPTS, CONFIG))
        assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
        assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
        assert "LD_PRELOAD" not in os.environ


def test_what_was_printed_while_contained_is_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with contained():
        os.system("echo from a process")
        print("from Python")
        torch.manual_seed(random.randrange(100))
    print("a record")
    assert capfd.readouterr() == ("a record\n", "from a process\nfrom Python\n")


class TestFresh:
    """Each opens its own; in the order of the file, after the shared one was closed."""

    @pytest.fixture(autouse=True)
    def alone(self, engine: VLLMEngine) -> None:
        engine.close()

    def test_a_swapped_policy_equals_a_fresh_load(self, model_folder: Path, policies: dict[str, Path]) -> None:
        """The first engine has no room for adapters and is made anew for one."""
        engine = opened(model_folder)
        swapped = {}
        for name in ("lora", "full", "lora2"):
            engine.load_policy(policies[name])
            swapped[name] = list(engine.sample([*PROMPTS, LONG], CONFIG))
        engine.close()
        for name in ("lora2", "full"):
            fresh = opened(model_folder, policy=str(policies[name]))
            assert_same_but_for_rounding(list(fresh.sample([*PROMPTS, LONG], CONFIG)), swapped[name])
            fresh.load_policy(None)
            assert_log_probs_of(load_tiny(model_folder), next(fresh.sample([LONG], CONFIG)), 1.0)
            fresh.close()

    def test_a_head_of_its_own_is_reloaded_as_well(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "model", head_dim=32)
        policy = load_tiny(folder)
        stir(policy)
        save(policy, tmp_path / "full", {"step": 1}, None)
        engine = opened(folder)
        for directory in (tmp_path / "full", None):
            engine.load_policy(directory)
            assert_log_probs_of(load_tiny(folder, policy=directory), next(engine.sample([LONG], CONFIG)), 1.0)
        engine.close()

    def test_a_cache_too_small_for_the_batch_changes_nothing(self, model_folder: Path) -> None:
        """What does not fit is taken out and put back in, with its random numbers where they were."""
        prompts = [replace(LONG, id=str(number), prompt=f"{number} {LONG.prompt}") for number in range(8)]
        groups = []
        for vllm in (None, {"num_gpu_blocks_override": 11}):
            engine = opened(model_folder, replace(CONFIG, vllm=vllm, batch_size=32))
            groups.append(list(engine.sample(prompts, replace(CONFIG, max_tokens=100))))
            engine.close()
        assert_same_but_for_rounding(*groups)

    def test_longer_completions_than_expected_are_not_cut(self, model_folder: Path) -> None:
        engine = opened(model_folder, RolloutConfig(max_prompt_tokens=80, max_tokens=8))
        (group,) = engine.sample([PROMPT], replace(CONFIG, max_prompt_tokens=80, max_tokens=60, samples=16))
        assert max(len(rollout.token_ids or ()) for rollout in group) == 60
        engine.close()

    def test_arguments_of_the_user_win(self, model_folder: Path) -> None:
        engine = opened(model_folder, replace(CONFIG, vllm={"max_model_len": 100, "max_num_seqs": 3}))
        long, short = engine.sample([LONG, PROMPT], CONFIG)
        assert "'long'" in (long[0].error or "") and "max_model_len of 100" in (long[0].error or "")
        assert len(short) == CONFIG.samples
        assert engine._holder.llm.llm_engine.vllm_config.scheduler_config.max_num_seqs == 3
        engine.close()

    @pytest.mark.parametrize(("settings", "reason"), [
        ({"vllm": {"tensor_paralel_size": 2}}, "did you mean 'tensor_parallel_size'"),
        ({"vllm": {"logprobs_mode": "raw_logits"}}, "is set by sparkcli"),
        ({"vllm": {"max_model_len": 10**6}}, "max_model_len"),
        ({"device": "cuda"}, "computes on cpu"),
        ({"load_in_4bit": True}, "load_in_4bit"),
        ({"dtype": "float16", "vllm": {"quantization": "nonsense"}}, "nonsense"),
    ])
    def test_what_cannot_be_opened_is_one_line(self, model_folder: Path, settings: dict[str, Any],
                                               reason: str) -> None:
        arguments = {"vllm": None, **settings}
        with pytest.raises(UsageError, match=reason) as raised:
            opened(model_folder, replace(CONFIG, vllm=arguments.pop("vllm")), **arguments)
        assert "\n" not in str(raised.value)

    def test_a_model_that_vllm_does_not_run_is_one_line(self, tmp_path: Path) -> None:
        engine = opened(write_model(tmp_path / "narrow", head_dim=8))
        with pytest.raises(SparkError, match="--engine transformers") as raised:
            list(engine.sample([PROMPT], CONFIG))
        assert "\n" not in str(raised.value)
        engine.close()

    def test_opening_moves_no_random_numbers_and_leaves_nothing_behind(self, model_folder: Path) -> None:
        states, variables = (torch.get_rng_state(), random.getstate()), {**os.environ}
        engine = open_engine(ModelConfig(name=str(model_folder), engine="vllm"), CONFIG, policy=load_tiny(model_folder),
                             trained=TrainConfig(lora_rank=4))
        assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
        assert {name for name in os.environ if os.environ[name] != variables.get(name)} <= {
            "VLLM_DIST_IDENT", "VLLM_OBJECT_STORAGE_SHM_BUFFER_NAME"}
        engine.close()
        assert not torch.distributed.is_initialized()


def test_what_the_version_lacks_is_named() -> None:
    import_vllm()
    assert lacking(USED) == []
    assert lacking({"vllm.LLM": ("generate", "dream"), "vllm.SamplingParams": ("seed", "luck"), "vllm.nowhere": ("x",),
                    "vllm.config.model.LogprobsMode": ("raw_logits", "guessed")}) == [
        "vllm.LLM.dream", "vllm.SamplingParams.luck", "vllm.nowhere", "vllm.config.model.LogprobsMode.guessed"]


def test_stdout_is_for_records_and_stderr_for_people(model_folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "a", "prompt": "1 + 1 = ?", "answer": "2"}\n')
    command = [sys.executable, "-m", "sparkcli", "rollout", str(prompts), "-m", str(model_folder), "--engine", "vllm",
               "-n", "2", "--max-tokens", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [json.loads(line)["sample"] for line in done.stdout.splitlines()] == [0, 1]
    assert [line for line in done.stderr.splitlines() if "vllm" in line.lower() and "vllm/" not in line] == []
