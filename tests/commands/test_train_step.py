"""`train-step` on rollouts of the built-in model: what it writes and tells, and what it refuses, nothing written."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.commands.conftest import Cli, Result

from sparkcli.records import Rollout, Scored, dumps

Change = Callable[[dict[str, Any]], None]

MEANS = {"loss", "policy_loss", "kl", "clip_share", "clip_share_low", "clip_share_high", "ratio", "ratio_max",
         "entropy", "grad_norm", "lr"}
COUNTS = {"phase", "updates", "total_updates", "samples", "micro_batches", "tokens", "shared_tokens", "padding_share",
          "attention_padding_share", "corrected", "groups", "groups_with_signal", "rollouts", "null_rewards",
          "biased_sampling", "stale_policy", "scored_missing", "truncated", "reward"}
MACHINE = {"seconds", "tokens_per_second", "peak_memory_mib"}


@pytest.fixture(scope="module")
def drawn() -> list[Rollout]:
    from tests.training.real import rollouts

    return rollouts()


@pytest.fixture(scope="module")
def records(drawn: list[Rollout]) -> list[Scored]:
    """Six groups of four, right and wrong by turns."""
    from tests.training.real import alternately

    return alternately(drawn)


@pytest.fixture(autouse=True)
def built_in_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """What every command here is asked to train, where it names no other."""
    monkeypatch.setenv("SPARKCLI_MODEL_NAME", "builtin:tiny-math")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: list[Scored]) -> Path:
    """The working folder, with the records in `scored.jsonl`."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "scored.jsonl", records)
    return tmp_path


def write(path: Path, records: Sequence[Rollout]) -> None:
    path.write_bytes(b"".join(map(dumps, records)))


def changed(path: Path, line: int, change: Change) -> None:
    """Changes one record of a file."""
    lines = path.read_text().splitlines()
    record = json.loads(lines[line])
    change(record)
    lines[line] = json.dumps(record)
    path.write_text("\n".join(lines) + "\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def one_line(result: Result) -> bool:
    return result.err.startswith("sparkcli: ") and result.err.count("\n") == 1


def assert_refused(result: Result, code: int, message: str, folder: Path, before: dict[str, bytes]) -> None:
    """One line with the message, the exit code, and nothing written."""
    assert message in result.err and one_line(result), result.err
    assert (result.code, result.out) == (code, "")
    assert contents(folder) == before
    assert not [path for path in folder.rglob("*") if path.is_dir() and path.name.startswith(".")]


# What is written and told.


def test_the_pipeline_from_prompts_to_a_policy(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prompts = cli("prepare", "builtin:tiny-math", "--limit", "4", "-q").out
    sampled = cli("rollout", "-n", "8", "--max-tokens", "64", "-q", stdin=prompts).out
    scored = cli("verify", "-q", "--jobs", "1", stdin=sampled).out
    result = cli("train-step", "-", "-q", "-o", "policy", "--lora-rank", "2", stdin=scored)
    assert (result.code, result.err) == (0, "")
    metrics = json.loads(result.out)
    assert metrics["rollouts"] == 32 and metrics["groups"]["mixed"] >= 1 and metrics["updates"] >= 1
    assert metrics["ratio_max"] == pytest.approx(1, abs=0.2)
    again = cli("rollout", "-n", "2", "--max-tokens", "8", "-q", "--policy", "policy", stdin=prompts)
    before, after = (json.loads(text.splitlines()[0])["policy"] for text in (sampled, again.out))
    assert again.code == 0 and before != after


def test_metrics_have_every_field_and_the_state_all_but_the_machines(cli: Cli, folder: Path) -> None:
    result = cli("train-step", "scored.jsonl", "-o", "p", "--updates", "2", "--lora-rank", "2")
    assert (result.code, result.err, result.out.count("\n")) == (0, "", 1)
    metrics = json.loads(result.out)
    assert set(metrics) == MEANS | COUNTS | MACHINE
    assert json.loads((folder / "p" / "trainer_state.json").read_bytes())["metrics"] == {
        name: value for name, value in metrics.items() if name not in MACHINE}
    assert set(metrics["seconds"]) == {"read", "reference", "parent", "forward", "backward", "optimizer"}
    assert metrics["peak_memory_mib"] > 10 and metrics["tokens_per_second"] > 10
    assert metrics["reward"] == {"solve": 0.5}
    assert metrics["groups"] == {"all_right": 0, "all_wrong": 0, "equal_partial": 0, "mixed": 6, "unknown": 0}
    assert (metrics["samples"], metrics["updates"], metrics["stale_policy"], metrics["corrected"]) == (24, 2, 0, 0)
    assert metrics["loss"] == pytest.approx(metrics["policy_loss"] + 0.001 * metrics["kl"], abs=1e-7)
    assert 0 <= metrics["padding_share"] < 1 and metrics["entropy"] > 0 and metrics["grad_norm"] > 0


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("method", ["lora", "full"])
def test_equal_input_gives_equal_bytes(cli: Cli, folder: Path, method: str) -> None:
    for name in ("a", "b"):
        assert cli("train-step", "scored.jsonl", "-o", name, "--method", method, "--updates", "2").code == 0
    assert contents(folder / "a") == contents(folder / "b")


def test_a_policy_that_is_written_over_is_the_one_that_a_new_place_would_hold(cli: Cli, folder: Path) -> None:
    arguments = ("train-step", "scored.jsonl", "-q", "--method", "full", "--allow-stale", "--policy")
    assert cli(*arguments[:-2], "-o", "p").code == 0
    assert cli(*arguments, "p", "-o", "new").code == 0
    assert cli(*arguments, "p", "-o", "p").code == 0
    assert contents(folder / "p") == contents(folder / "new")
    assert sorted(path.name for path in folder.iterdir()) == ["new", "p", "scored.jsonl"]


@pytest.mark.parametrize(("rewards", "kind", "why"), [
    ((1.0,), "all_right", "in no group do rewards differ (6 all right); try more samples a prompt "
     "(rollout -n), a higher --temperature, harder prompts"),
    ((None,), "unknown", "no rollout has a reward; verdict.reason says why"),
    ((0.1 + 0.2, 0.3), "equal_partial", "in no group do rewards differ (6 equal partial); try more "
     "samples a prompt (rollout -n), a higher --temperature"),  # float noise
    ((0.0, None, None, None), "all_wrong", "no prompt has two samples with a reward to compare; sample more of each "
     "(rollout -n 8)"),
])
def test_groups_without_a_difference_update_nothing(cli: Cli, folder: Path, records: list[Scored], kind: str, why: str,
                                                    rewards: Sequence[float | None]) -> None:
    equal = [dataclasses.replace(record, reward=rewards[n % len(rewards)]) for n, record in enumerate(records)]
    write(folder / "scored.jsonl", equal)
    result = cli("train-step", "scored.jsonl", "-o", "p", "--method", "full")
    metrics = json.loads(result.out)
    assert (result.code, metrics["updates"], metrics["loss"], metrics["groups"][kind]) == (0, 0, None, 6)
    assert result.err == f"sparkcli: warning: nothing to learn from: {why}; no update, p equals its parent\n"
    again = cli("train-step", "scored.jsonl", "-o", "q", "--method", "full", "-q")
    assert (again.code, again.err) == (0, "")
    assert contents(folder / "p") == contents(folder / "q")


def test_nothing_to_learn_from_can_be_a_failure(cli: Cli, folder: Path, records: list[Scored]) -> None:
    write(folder / "scored.jsonl", [dataclasses.replace(record, reward=0.0) for record in records])
    for arguments, outcome in ((("-o", "p"), "p was not written"), (("--dry-run",), "training would change nothing")):
        result = cli("train-step", "scored.jsonl", "--method", "full", "--fail-if-idle", *arguments)
        assert (result.code, json.loads(result.out)["updates"]) == (4, 0)
        assert result.err.startswith("sparkcli: nothing to learn from: in no group do rewards differ (6 all ")
        assert result.err.endswith(f"easier prompts; no update, {outcome} (--fail-if-idle)\n")
    assert not (folder / "p").exists()
    assert cli("train-step", "scored.jsonl", "-o", "p", "--method", "full").code == 0


# Plans and probes.


def test_a_plan_needs_no_place_and_writes_nothing(cli: Cli, folder: Path) -> None:
    before = contents(folder)
    result = cli("train-step", "scored.jsonl", "--dry-run", "--updates", "2")
    plan = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert (plan["updates"], plan["samples"], plan["rollouts"], plan["groups"]["mixed"]) == (2, 24, 24, 6)
    assert contents(folder) == before


@pytest.mark.parametrize("temperature", ["0.7", "1.0"])
def test_fresh_rollouts_of_the_engine_have_a_ratio_of_one(cli: Cli, folder: Path, temperature: str) -> None:
    prompts = cli("prepare", "builtin:tiny-math", "--limit", "4", "-q").out
    rollouts = cli("rollout", "-n", "4", "--max-tokens", "32", "--temperature", temperature, "-q", stdin=prompts).out
    (folder / "rollouts.jsonl").write_text(rollouts)
    before = contents(folder)
    result = cli("train-step", "rollouts.jsonl", "--probe")
    report = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert report["samples"] == 16 and report["by_policy"].keys() == {"fresh"} and report["by_task"].keys() == {"solve"}
    assert [report["ratio"]["min"], report["ratio"]["max"]] == pytest.approx([1, 1], abs=1e-4)
    assert (report["outside_clip"], report["above_cap"]) == (0, {"token": 0, "sequence": 0})
    assert contents(folder) == before


def test_a_probe_names_what_is_odd(cli: Cli, folder: Path, drawn: list[Rollout]) -> None:
    """Rollouts without verdicts, one of them no sample at all, one with a log-prob that is far off, four stale."""
    failed = dataclasses.replace(drawn[0], id="failed", finish_reason="error", error="no room", completion="",
                                 prompt_token_ids=None, token_ids=None, logprobs=None)
    stale = [dataclasses.replace(rollout, policy="0123456789abcdef") for rollout in drawn[4:8]]
    odd = dataclasses.replace(drawn[9], logprobs=(-30.0, *(drawn[9].logprobs or ())[1:]), task="judge")
    write(folder / "rollouts.jsonl", [failed, *drawn[:4], *stale, drawn[8], odd, *drawn[10:]])
    result = cli("train-step", "rollouts.jsonl", "--probe")
    report = json.loads(result.out)
    assert result.code == 0
    assert report["samples"] == 24
    assert {name: part["samples"] for name, part in report["by_policy"].items()} == {"fresh": 20, "stale": 4}
    assert (report["worst"][0]["id"], report["worst"][0]["sample"], report["worst"][0]["token"]) == (odd.id, 1, 0)
    assert report["by_task"]["solve"]["ratio"]["max"] == pytest.approx(1, abs=1e-4)
    assert report["by_task"]["judge"]["ratio"]["max"] > 1e6
    assert result.err.startswith("4 of 24 samples are of another policy; training on them needs --allow-stale\n")
    assert cli("train-step", "rollouts.jsonl", "--probe", "-q").err == ""


# Other policies' rollouts.


def test_rollouts_of_an_older_policy_are_refused_or_corrected(cli: Cli, folder: Path) -> None:
    assert cli("train-step", "scored.jsonl", "-o", "p1", "--method", "full", "--lr", "1e-4").code == 0
    before = contents(folder)
    arguments = ("train-step", "scored.jsonl", "-o", "p2", "--method", "full", "--policy", "p1")
    refused = cli(*arguments)
    first = json.loads((folder / "scored.jsonl").read_text().splitlines()[0])
    assert_refused(refused, 3, f"prompt {first['id']!r}, sample 0: policy: expected", folder, before)
    assert f"found {first['policy']} (24 of 24 rollouts are stale)" in refused.err
    probed = json.loads(cli("train-step", "scored.jsonl", "--policy", "p1", "--method", "full", "--probe").out)
    taken = cli(*arguments, "--allow-stale")
    metrics = json.loads(taken.out)
    assert (taken.code, metrics["stale_policy"], metrics["corrected"], metrics["phase"]) == (0, 24, 24, 2)
    assert probed["by_policy"].keys() == {"stale"} and probed["kl"]["k3"] > 1e-6


def test_mixed_policies_are_refused_by_the_first_that_differs(cli: Cli, folder: Path) -> None:
    changed(folder / "scored.jsonl", 6, lambda record: record.update(policy="0123456789abcdef"))
    before = contents(folder)
    assert_refused(cli("train-step", "scored.jsonl", "-o", "p"), 3,
                   "sample 2: policy: expected", folder, before)
    assert "(1 of 24 rollouts are stale)" in cli("train-step", "scored.jsonl", "-o", "p").err
    assert cli("train-step", "scored.jsonl", "-o", "p", "--allow-stale", "-q").code == 0


# Text alone.


def bare(record: Scored | Rollout) -> Any:
    """What a server that gives text alone leaves of it."""
    return dataclasses.replace(record, prompt_token_ids=None, token_ids=None, logprobs=None, policy="openai:served")


def test_text_alone_is_verified_and_recycled_like_any_other(cli: Cli, folder: Path, drawn: list[Rollout]) -> None:
    write(folder / "whole.jsonl", drawn)
    write(folder / "text.jsonl", [bare(rollout) for rollout in drawn])
    for name in ("whole", "text"):
        assert cli("verify", f"{name}.jsonl", "-q", "--jobs", "1", "-o", f"{name}-scored.jsonl").code == 0
        assert cli("recycle", f"{name}-scored.jsonl", "-q", "-o", f"{name}-recycled.jsonl").code == 0
    scored = [json.loads(line) for line in (folder / "text-scored.jsonl").read_text().splitlines()]
    whole = [json.loads(line) for line in (folder / "whole-scored.jsonl").read_text().splitlines()]
    assert [record["reward"] for record in scored] == [record["reward"] for record in whole]
    assert not any({"token_ids", "logprobs", "prompt_token_ids"} & record.keys() for record in scored)
    assert (folder / "text-recycled.jsonl").read_bytes() == (folder / "whole-recycled.jsonl").read_bytes() != b""


def test_text_alone_trains_once_it_is_scored(cli: Cli, folder: Path, records: list[Scored]) -> None:
    from safetensors.torch import load_file

    write(folder / "text.jsonl", [bare(record) for record in records])
    before = contents(folder)
    arguments = ("train-step", "text.jsonl", "--method", "full", "-o", "p")
    for more in ((), ("--dry-run",)):
        assert_refused(cli(*arguments, *more), 3, f"prompt {records[0].id!r}, sample 0: text alone, as servers other "
                       "than vLLM's give it; training needs token ids and log-probs; --score-missing", folder, before)
    result = cli(*arguments, "--score-missing")
    assert result.code == 0 and result.err == (
        "sparkcli: warning: 24 of 24 rollouts have no log-probs (24 text alone, 0 with token ids): they get those of "
        "the policy that is updated, as if it had drawn them\n")
    metrics, state = json.loads(result.out), json.loads((folder / "p" / "trainer_state.json").read_bytes())
    assert (metrics["scored_missing"], metrics["stale_policy"], state["metrics"]["scored_missing"]) == (24, 0, 24)
    assert state["config"]["score_missing"] is True
    assert cli("train-step", "scored.jsonl", "--method", "full", "-o", "q").code == 0
    expected = load_file(folder / "q" / "model.safetensors")
    for name, found in load_file(folder / "p" / "model.safetensors").items():
        assert (found - expected[name]).abs().max() <= 5e-6, name


def test_plans_and_probes_of_text_alone_say_so(cli: Cli, folder: Path, records: list[Scored]) -> None:
    write(folder / "text.jsonl", [bare(record) if n < 4 else record for n, record in enumerate(records)])
    planned = cli("train-step", "text.jsonl", "--dry-run", "--score-missing")
    assert (planned.code, json.loads(planned.out)["scored_missing"]) == (0, 4)
    assert planned.err.startswith("sparkcli: warning: 4 of 24 rollouts have no log-probs (4 text alone, ")
    probed = cli("train-step", "text.jsonl", "--probe", "--score-missing")
    assert (probed.code, json.loads(probed.out)["samples"]) == (0, 20)
    assert probed.err == ("sparkcli: warning: 4 of 24 rollouts have no log-probs: nothing to compare with, left out\n")
    assert "text alone" in cli("train-step", "text.jsonl", "--probe").err


def test_a_recipe_can_ask_for_it(cli: Cli, folder: Path, records: list[Scored]) -> None:
    write(folder / "text.jsonl", [bare(record) for record in records])
    (folder / "r.toml").write_text("[train]\nscore_missing = true\nlora_rank = 2\n")
    result = cli("train-step", "text.jsonl", "--recipe", "r.toml", "-o", "p", "-q")
    assert (result.code, result.err, json.loads(result.out)["scored_missing"]) == (0, "", 24)


# What cannot be trained on.


BAD_RECORDS: dict[str, tuple[Change, str]] = {
    "no log-probs": (lambda r: r.pop("logprobs"), "sample 1: logprobs: expected for training, missing"),
    "no token ids": (lambda r: r.pop("token_ids"), "sample 1: token_ids: expected for training, missing"),
    "no prompt ids": (lambda r: r.pop("prompt_token_ids"), "sample 1: prompt_token_ids: expected for training"),
    "a log-prob too few": (lambda r: r["logprobs"].pop(), "sample 1: logprobs: expected one for each of the"),
    "a null among them": (lambda r: r["logprobs"].__setitem__(0, None), "scored.jsonl:6: logprobs"),
    "NaN": (lambda r: r["logprobs"].__setitem__(0, float("nan")), "scored.jsonl:6: not JSON"),
    "infinity": (lambda r: r["logprobs"].__setitem__(0, float("-inf")), "scored.jsonl:6: not JSON"),
    "probabilities": (lambda r: r["logprobs"].__setitem__(0, 0.5), "sample 1: logprobs: expected logarithms"),
    "an id of another model": (lambda r: r["token_ids"].__setitem__(0, 10**6), "sample 1: token_ids: expected ids"),
    "an id below 0": (lambda r: r["prompt_token_ids"].__setitem__(0, -1), "sample 1: prompt_token_ids: expected ids"),
    "a reward in words": (lambda r: r.update(reward="right"), "scored.jsonl:6: reward: expected"),
    "no verdict": (lambda r: r.pop("verdict"), "scored.jsonl:6: verdict: expected in a scored record, missing"),
    "a sample elsewhere": (lambda r: r.update(id="another"), "its samples do not stand together"),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
@pytest.mark.parametrize("mode", ["train", "plan"])
def test_a_bad_record_is_named(cli: Cli, folder: Path, name: str, mode: str) -> None:
    change, message = BAD_RECORDS[name]
    changed(folder / "scored.jsonl", 5, change)
    before = contents(folder)
    arguments = ("--dry-run",) if mode == "plan" else ("-o", "p")
    assert_refused(cli("train-step", "scored.jsonl", *arguments), 3, message, folder, before)


def test_a_line_that_is_cut_is_named(cli: Cli, folder: Path) -> None:
    text = (folder / "scored.jsonl").read_text()
    (folder / "scored.jsonl").write_text(text[:-100])
    before = contents(folder)
    assert_refused(cli("train-step", "scored.jsonl", "-o", "p"), 3, "scored.jsonl:24: not JSON", folder, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_side_file_with_nan_is_found(cli: Cli, folder: Path, value: float) -> None:
    from safetensors.numpy import load_file, save_file

    prompts = cli("prepare", "builtin:tiny-math", "--limit", "2", "-q").out
    rollouts = cli("rollout", "-n", "2", "--max-tokens", "8", "--tensors", "t.safetensors", "-q", stdin=prompts).out
    (folder / "scored.jsonl").write_text(cli("verify", "-q", "--jobs", "1", stdin=rollouts).out)
    arrays = load_file("t.safetensors")
    arrays["logprobs"] = arrays["logprobs"].copy()
    arrays["logprobs"][-1] = value
    save_file(arrays, "t.safetensors")
    before = contents(folder)
    assert_refused(cli("train-step", "scored.jsonl", "-o", "p"), 3,
                   "sample 1: logprobs: expected finite numbers, found NaN or infinity", folder, before)


def test_a_stand_in_for_minus_infinity_is_refused(cli: Cli, folder: Path) -> None:
    changed(folder / "scored.jsonl", 6, lambda record: record["logprobs"].__setitem__(0, -9999.0))
    before = contents(folder)
    result = cli("train-step", "scored.jsonl", "-o", "p")
    assert_refused(result, 3, "logprobs: expected those of tokens that were drawn, found -9999", folder, before)


def test_a_log_prob_of_nearly_no_probability_stops_before_anything_is_written(cli: Cli, folder: Path) -> None:
    """−900 is a number, but the ratio to it is none in float32."""
    for line in (6, 7):
        changed(folder / "scored.jsonl", line, lambda record: record["logprobs"].__setitem__(0, -900.0))
    before = contents(folder)
    id = json.loads((folder / "scored.jsonl").read_text().splitlines()[6])["id"]
    result = cli("train-step", "scored.jsonl", "-o", "p")
    assert_refused(result, 1, f"prompt {id!r}, sample ", folder, before)
    assert "not finite" in result.err and "nothing was written" in result.err


# Policies and places.


@pytest.fixture(scope="module")
def parent(records: list[Scored], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, fine-tuned in full."""
    from sparkcli.config import ModelConfig, TrainConfig
    from sparkcli.models.policy import load
    from sparkcli.training.step import Trainer

    trainer = Trainer(load(ModelConfig(name="builtin:tiny-math", device="cpu")), TrainConfig(method="full"))
    trainer.step(records)
    trainer.save(tmp_path_factory.mktemp("parent") / "p")
    return tmp_path_factory.getbasetemp() / "parent0" / "p"


def test_weights_with_nan_stop_before_anything_is_written(cli: Cli, folder: Path, parent: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(parent, folder / "parent")
    tensors = load_file(folder / "parent" / "model.safetensors")
    name = max(tensors, key=lambda name: tensors[name].numel())
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, folder / "parent" / "model.safetensors", metadata={"format": "pt"})
    before = contents(folder)
    arguments = ("train-step", "scored.jsonl", "--method", "full", "--policy", "parent", "--allow-stale")
    result = cli(*arguments, "-o", "p", "-q")
    assert (result.code, result.out) == (1, "") and one_line(result) and "not finite" in result.err
    assert contents(folder) == before


@pytest.mark.parametrize(("damage", "message"), [
    (lambda policy: (policy / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    (lambda policy: (policy / "model.safetensors").write_bytes(b"short"), "cut short"),
    (lambda policy: (policy / "optimizer.safetensors").write_bytes(b"short"), "cut short"),
    (lambda policy: (policy / "trainer_state.json").write_text("{"), "broken JSON"),
    (shutil.rmtree, "no such directory"),
    (lambda policy: (policy / "trainer_state.json").write_text(
        '{"base": {"name": "other", "fingerprint": "0123456789abcdef"}}'), "was trained on model 'other'"),
])
@pytest.mark.parametrize("mode", ["train", "plan", "probe"])
def test_a_policy_that_is_none_is_refused(cli: Cli, folder: Path, parent: Path, damage: Callable[[Path], None],
                                          message: str, mode: str) -> None:
    shutil.copytree(parent, folder / "parent")
    damage(folder / "parent")
    before = contents(folder)
    arguments = {"train": ("-o", "p"), "plan": ("--dry-run",), "probe": ("--probe",)}[mode]
    assert_refused(cli("train-step", "scored.jsonl", "--method", "full", "--policy", "parent", *arguments), 2, message,
                   folder, before)


@pytest.mark.parametrize(("out", "message"), [
    ("mine", "mine: exists and holds something else (no trainer_state.json in it)"),
    ("scored.jsonl", "scored.jsonl: is a file; give a directory to write"),
    ("scored.jsonl/p", "scored.jsonl is no folder; give another directory"),
])
def test_a_place_that_is_none_is_refused(cli: Cli, folder: Path, out: str, message: str) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").write_text("years of work")
    before = contents(folder)
    for more in ((), ("--dry-run",)):
        assert_refused(cli("train-step", "scored.jsonl", "-o", out, *more), 2, message, folder, before)


def test_a_folder_that_refuses_the_policy_after_all_is_told(cli: Cli, folder: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up, or rights that change, while the step runs."""
    from sparkcli.models import folders

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "sync", full)
    before = contents(folder)
    assert_refused(cli("train-step", "scored.jsonl", "-o", "p"), 1,
                   "p: cannot be written (No space left on device); nothing was changed", folder, before)


@pytest.mark.usefixtures("folder")
def test_training_needs_a_place(cli: Cli) -> None:
    result = cli("train-step", "scored.jsonl")
    assert (result.code, result.out) == (2, "")
    assert result.err == "sparkcli: Missing option '-o' / '--out'; see sparkcli train-step --help\n"
