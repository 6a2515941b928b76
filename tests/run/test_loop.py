"""The loop: what it leaves on disk, when it goes on, and when it refuses."""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.run.conftest import contents, names

import sparkcli.models.policy
from sparkcli.config import ModelConfig, RolloutConfig
from sparkcli.engines.scripted import ScriptedEngine
from sparkcli.engines.transformers.engine import TransformersEngine
from sparkcli.errors import GateError, InputError, SparkError, UsageError
from sparkcli.models.policy import load
from sparkcli.records import Prompt, Rollout, Scored, dumps
from sparkcli.run.loop import Loop
from sparkcli.run.settings import Settings
from sparkcli.run.state import RunFolder, locked, read_all

Runs = Callable[..., Path]
ABILITIES = {"solve", "pointwise", "pairwise", "reflection", "self_reflection"}


def summary_of(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_bytes())
    return summary


def lines_of(path: Path) -> int:
    return len(path.read_bytes().splitlines())


def test_a_run_leaves_its_records_its_policies_and_a_summary(runs: Runs) -> None:
    folder = runs(loop__prompts="builtin:tiny-math/train", eval__scaling="builtin:tiny-math/hard",
                  eval__scaling_limit=2)
    assert names(folder / "policy") == names(folder / "steps") == ["000001", "000002", "000003"]
    summary = summary_of(folder)
    assert summary["before"].keys() == summary["after"].keys() == ABILITIES
    assert all(result.keys() == {"accuracy", "stderr", "n"} for result in summary["after"].values())
    assert "best_of_n" in summary["scaling"]["after"]
    assert summary["policy"] == str(folder / "policy" / "000003")
    assert summary["steps"] == 3
    assert summary["updates"] == json.loads((folder / "policy/000003/trainer_state.json").read_bytes())["updates"]
    assert summary["seconds"] > 0


def test_metrics_have_a_line_a_step(runs: Runs) -> None:
    metrics = RunFolder(runs()).metrics()
    assert [entry["step"] for entry in metrics] == [1, 2, 3]
    for entry in metrics:
        assert entry["policy"]["rollouts"] == 8
        assert "seconds" not in json.dumps(entry)


def test_equal_settings_give_equal_bytes(runs: Runs) -> None:
    assert contents(runs("one")) == contents(runs("other"))


def test_another_seed_gives_other_samples(runs: Runs) -> None:
    one, other = (runs(name, loop__seed=seed, loop__steps=1) / "steps/000001/rollouts.jsonl"
                  for name, seed in (("one", 0), ("other", 100)))
    assert one.read_bytes() != other.read_bytes()


def test_recycled_prompts_wait_first_in_first_out_until_enough_of_them_are_there(runs: Runs) -> None:
    folder = runs(loop__queue_batch=6)
    waiting: list[Prompt] = []
    updates = []
    for step in sorted((folder / "steps").iterdir()):
        waiting += read_all(step / "recycled.jsonl", Prompt)
        updates.append(len(waiting) >= 6)
        assert (step / "again-scored.jsonl").exists() == updates[-1]
        if updates[-1]:
            asked = read_all(step / "again-scored.jsonl", Scored)
            assert list(dict.fromkeys(s.id for s in asked)) == [prompt.id for prompt in waiting[:6]]
            waiting = waiting[6:]
        assert read_all(step / "queue.jsonl", Prompt) == waiting
    assert True in updates, "a step with a recycled update"
    assert False in updates, "a step without one"
    assert (folder / "queue.jsonl").read_bytes() == b"".join(map(dumps, waiting))


def test_the_updated_policy_answers_recycled_prompts(runs: Runs) -> None:
    folder = runs(loop__steps=2, loop__queue_batch=2)
    first = read_all(folder / "steps/000002/scored.jsonl", Scored)
    again = read_all(folder / "steps/000002/again-scored.jsonl", Scored)
    assert len({s.policy for s in first}) == len({s.policy for s in again}) == 1
    assert first[0].policy != again[0].policy
    state = json.loads((folder / "policy/000002/trainer_state.json").read_bytes())
    assert state["parent"] == again[0].policy


def test_without_recycling_it_is_plain_grpo(runs: Runs) -> None:
    folder = runs(loop__recycle=False, loop__steps=1)
    assert names(folder / "steps/000001") == ["queue.jsonl", "rollouts.jsonl", "scored.jsonl"]
    assert summary_of(folder)["updates"] == 1


def test_shaping_terms_stand_beside_the_outcome_and_leave_recycling_alone(runs: Runs) -> None:
    plain = runs("plain", loop__steps=1)
    shaped = runs("shaped", loop__steps=1, shaping__overlong_weight=0.5, shaping__overlong_limit=8)
    scored = read_all(shaped / "steps/000001/scored.jsonl", Scored)
    assert {tuple(entry.terms or ()) for entry in scored} == {("outcome", "overlong")}
    assert all(entry.reward == sum((entry.terms or {}).values()) for entry in scored)
    assert any((entry.terms or {})["overlong"] < 0 for entry in scored)
    recycled = "steps/000001/recycled.jsonl"
    assert (shaped / recycled).read_bytes() == (plain / recycled).read_bytes() != b""


def test_more_steps_than_prompts_begin_a_second_pass(runs: Runs, tmp_path: Path) -> None:
    prompts = [Prompt(id=f"p{number}", prompt=f"{number}?", answer=str(number), verifier="exact")
               for number in range(3)]
    (tmp_path / "prompts.jsonl").write_bytes(b"".join(map(dumps, prompts)))
    folder = runs(loop__prompts=str(tmp_path / "prompts.jsonl"), loop__queue_batch=3)
    asked = [dict.fromkeys(s.id for s in read_all(step / "scored.jsonl", Scored))
             for step in sorted((folder / "steps").iterdir())]
    assert [list(ids) for ids in asked] == [["p0", "p1"], ["p2", "p0"], ["p1", "p2"]]
    recycled = [p.id for step in (folder / "steps").iterdir() for p in read_all(step / "recycled.jsonl", Prompt)]
    assert max(Counter(recycled).values()) == 1, "the same prompt of another pass is another recycled prompt"


def test_no_held_out_prompts_no_evaluation(runs: Runs) -> None:
    summary = summary_of(runs(eval__prompts="", loop__steps=1))
    assert summary["before"] is summary["after"] is None


def test_evaluations_during_the_run_stand_in_the_metrics(runs: Runs) -> None:
    metrics = RunFolder(runs(eval__every=2, eval__during=1)).metrics()
    assert ["eval" in entry for entry in metrics] == [False, True, False]
    assert metrics[1]["eval"]["abilities"].keys() == ABILITIES
    assert metrics[1]["eval"]["abilities"]["solve"]["n"] == 1


def test_old_steps_and_policies_are_removed(runs: Runs) -> None:
    folder = runs(loop__keep=1)
    assert names(folder / "steps") == names(folder / "policy") == ["000003"]
    assert lines_of(folder / "metrics.jsonl") == 3


def test_a_policy_that_is_saved_is_not_read_again(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine shares the trainer's memory; what a network is loaded for is the start, and the KL's reference."""
    loaded: list[Path] = []
    load = sparkcli.models.policy.load_network

    def noted(folder: Path, *rest: Any) -> Any:
        loaded.append(folder)
        return load(folder, *rest)

    monkeypatch.setattr("sparkcli.models.policy.load_network", noted)
    folder = runs(model__engine="transformers", rollout__max_tokens=8, verify__max_error_share=1.0, eval__prompts="")
    assert len(set(loaded)) == 1, "the base alone"
    assert len(loaded) <= 2
    assert names(folder / "policy") == ["000001", "000002", "000003"]


class OfItsOwn(TransformersEngine):
    """Shares no memory with the trainer, as a server or another process does not. It reads a policy when it is asked
    for samples and not before, and may have to read it again, so its directory must be there whenever it is called."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__(load(model))
        self.directory: Path | None = None

    def sample(self, prompts: Iterable[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        super().load_policy(self.directory)
        yield from super().sample(prompts, config)

    def load_policy(self, directory: Path | None) -> None:
        self.rest()
        self.directory = directory

    def rest(self) -> None:
        assert self.directory is None or self.directory.is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_engine_with_weights_of_its_own_samples_what_a_shared_one_does(
        runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str) -> None:
    learns = {"model__name": "builtin:tiny-math", "loop__prompts": "builtin:tiny-math/train",
              "eval__prompts": "builtin:tiny-math/test", "eval__every": 1, "eval__during": 2}
    network = {**learns, "model__engine": "transformers", "train__method": method, "loop__keep": 1, "loop__steps": 2}
    shared = contents(runs("shared", **network))
    assert RunFolder(tmp_path / "shared").metrics()[-1]["recycled"]["updates"] == 1
    monkeypatch.setattr("sparkcli.run.loop.open_engine", lambda model, *_, **__: OfItsOwn(model))
    assert contents(runs("own", **network)) == shared
    runs("resumed", **{**network, "loop__steps": 1})
    resumed = contents(runs("resumed", resume=True, **network))
    assert resumed.keys() - shared.keys() == {"heldout/after-000001.json"}
    assert shared.items() <= resumed.items()


class TextAlone(ScriptedEngine):
    """Tells no log-probs, as some servers do."""

    def sample(self, prompts: Iterable[Prompt], config: RolloutConfig) -> Iterator[list[Rollout]]:
        for group in super().sample(prompts, config):
            yield [dataclasses.replace(rollout, logprobs=None) for rollout in group]


def test_a_server_that_tells_no_logprobs_is_refused_before_any_work(
        runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = {"model__engine": "openai", "server__base_url": ["http://one/v1"], "server__sync_adapters": True}
    monkeypatch.setattr("sparkcli.run.loop.open_engine", lambda model, *_, **__: TextAlone(model))
    with pytest.raises(UsageError, match=r"no log-probs .* train\.score_missing = true"):
        runs(**server)
    assert names(tmp_path / "run") == ["lock"]
    assert RunFolder(runs(**server, loop__steps=1, train__score_missing=True)).finished_steps() == 1


def test_a_server_that_dies_in_the_middle_of_a_step_costs_that_step(
        runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    without_evaluation = {"eval__prompts": "", "loop__queue_batch": 2}
    sample, calls = ScriptedEngine.sample, itertools.count(1)

    def die_in_the_second_step(self: ScriptedEngine, *asked: Any) -> Iterator[list[Rollout]]:
        if next(calls) == 4:  # the recycled prompts of step 2, once its policy is updated
            raise SparkError("no server answers")
        return sample(self, *asked)

    with monkeypatch.context() as patched:
        patched.setattr(ScriptedEngine, "sample", die_in_the_second_step)
        with pytest.raises(SparkError, match="no server answers"):
            runs(**without_evaluation)
    assert contents(runs(resume=True, **without_evaluation)) == contents(runs("other", **without_evaluation))


def test_a_finished_run_is_not_written_over(runs: Runs) -> None:
    before = contents(runs())
    with pytest.raises(UsageError, match="holds a run already; --resume"):
        runs()
    assert contents(runs(resume=True)) == before


def test_with_more_steps_a_run_goes_on_as_if_it_had_been_asked_for_them_at_first(runs: Runs) -> None:
    runs("one", loop__steps=1)
    later, at_once = contents(runs("one", resume=True)), contents(runs("other"))
    assert later.keys() - at_once.keys() == {"heldout/after-000001.json"}
    assert at_once.items() <= later.items()


def test_it_does_not_go_on_with_other_settings(runs: Runs) -> None:
    runs(loop__steps=1)
    with pytest.raises(UsageError, match=r"train\.lr is 0\.5, was 0\.001") as error:
        runs(resume=True, train__lr=0.5, rollout__samples=2)
    assert "rollout.samples is 2, was 4" in str(error.value)


def test_it_does_not_go_back(runs: Runs) -> None:
    runs(loop__steps=2)
    with pytest.raises(UsageError, match="2 steps are done already"):
        runs(resume=True, loop__steps=1)


def test_resuming_what_never_began_begins_it(runs: Runs) -> None:
    assert contents(runs("one", resume=True)) == contents(runs("other"))


def test_a_folder_with_something_else_in_it_is_left_alone(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in (".git", "notes.txt"):
        (tmp_path / "run" / name).write_text("precious")
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"holds '\.git' but no recipe\.toml"):
            runs(resume=resume)
    assert names(tmp_path / "run") == [".git", "notes.txt"]


def test_a_second_loop_on_the_same_directory_is_refused(runs: Runs, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(UsageError, match="another loop is at work here"):
        runs(resume=True)


@pytest.mark.parametrize(("changes", "message"), [
    ({"loop__prompts": "no/such/file.jsonl"}, "no/such/file"),
    ({"eval__prompts": "builtin:tiny-math/tset"}, "did you mean 'test'"),
    ({"model__name": "no/such/model"}, "no/such/model"),
    ({"recycle__templates": "no/such/folder"}, "no/such/folder"),
])
def test_what_is_wrong_from_the_start_leaves_no_run_behind(runs: Runs, changes: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, InputError), match=message):
        runs(**changes)
    runs(loop__steps=1)  # into the same directory


def test_a_step_needs_enough_prompts(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_bytes(dumps(Prompt(id="p", prompt="1?", answer="1")))
    with pytest.raises(UsageError, match=r"1 prompts, but one step needs 2"):
        runs(loop__prompts=str(tmp_path / "one.jsonl"))


def test_too_many_unknown_verdicts_end_the_run_where_it_can_go_on(runs: Runs, tmp_path: Path) -> None:
    prompts = [Prompt(id=str(number), prompt=f"{number}?", answer=None if number == 3 else "1", verifier="exact")
               for number in range(6)]
    (tmp_path / "prompts.jsonl").write_bytes(b"".join(map(dumps, prompts)))
    source = {"loop__prompts": str(tmp_path / "prompts.jsonl")}
    with pytest.raises(GateError, match=r"4 of 8 verdicts .* prompt '3': the record has no gold answer"):
        runs(**source)
    assert RunFolder(tmp_path / "run").finished_steps() == 1
    folder = runs(resume=True, verify__max_error_share=0.5, **source)
    assert RunFolder(folder).finished_steps() == 3
    assert contents(folder) == contents(runs("other", verify__max_error_share=0.5, **source))


def test_training_that_diverges_is_told_and_keeps_what_was_good(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Loop._trained

    def diverge_in_the_second_step(self: Loop, scored: list[Scored], name: str) -> dict[str, Any]:
        if RunFolder(self.folder.path).finished_steps() == 1:
            for parameter in self.trainer.parameters.values():
                parameter.data.fill_(float("nan"))
        return trained(self, scored, name)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_trained", diverge_in_the_second_step)
        with pytest.raises(SparkError, match="not finite"):
            runs()
    assert contents(runs(resume=True)) == contents(runs("other"))


def test_a_full_disk_while_saving_can_be_made_good(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    save = sparkcli.models.policy.save_file

    def full(tensors: Any, path: Path, **options: Any) -> None:
        if "000002" in str(path):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(tensors, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr("sparkcli.models.policy.save_file", full)
        with pytest.raises(SparkError, match="No space left on device"):
            runs()
    assert contents(runs(resume=True)) == contents(runs("other"))


def test_a_step_draws_from_its_own_seed(settings: Callable[..., Settings]) -> None:
    step = settings(loop__seed=10).of_step(3)
    assert (step.rollout.seed, step.recycle.seed, step.train.seed) == (13, 13, 13)
