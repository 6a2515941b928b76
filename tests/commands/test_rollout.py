"""`rollout`: what a dry run finds beforehand, prompts that share an id, and replies that have begun."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.commands.conftest import Cli
from tests.models.tiny import write_model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a context of 512 tokens, a token a byte."""
    return write_model(tmp_path_factory.mktemp("model"))


def write(*rows: dict[str, Any]) -> str:
    Path("prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "prompts.jsonl"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_dry_run_renders_every_prompt_and_names_what_cannot_be_sampled(cli: Cli, model: Path) -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]
    prompts = write({"id": "fits", "prompt": "1" * 10}, {"id": "short", "prompt": "1" * 400},
                    {"id": "long", "prompt": "1" * 600}, {"id": "tools", "prompt": "2?", "tools": tools},
                    {"id": "half", "prompt": "\ud83d"})
    ran = cli("rollout", prompts, "-m", model, "--dry-run", "-n", "2", "--max-tokens", "100")
    found = json.loads(ran.out)
    template = len("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n".replace("<|im_start|>", "s")
                   .replace("<|im_end|>", "e"))
    assert found["prompt_tokens"] == {"min": 10 + template, "median": 400 + template, "max": 600 + template,
                                      "total": 1010 + 3 * template}
    assert (found["prompts"], found["completions"], found["tokens_at_most"]) == (5, 10, 1000)
    assert (found["too_long"], found["refused"], found["short_of_room"]) == (1, 2, 1)
    assert ran.code == 0 and all(f"prompt '{name}': " in ran.err for name in ("long", "tools", "half"))
    assert "3 of 5 prompts could not be sampled" in ran.err


def test_a_dry_run_fails_where_nothing_could_be_sampled(cli: Cli, model: Path) -> None:
    ran = cli("rollout", write({"id": "long", "prompt": "1" * 600}), "-m", model, "--dry-run")
    assert ran.code == 1 and "no prompt could be sampled; the first error: prompt 'long': " in ran.err


def test_a_dry_run_without_a_network_counts(cli: Cli) -> None:
    ran = cli("rollout", write({"prompt": "1?"}), "--engine", "scripted", "--dry-run", "-n", "2")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["completions"] == 2 and "prompt_tokens" not in json.loads(ran.out)


TWINS = [{"prompt": "2 + 2?", "answer": "4"}, {"prompt": "2 + 2?", "answer": "4"}, {"id": "a", "prompt": "3?"},
         {"id": "a", "prompt": "4?"}, {"id": "a-2", "prompt": "5?"}, {"id": "a", "prompt": "3?"}]


@pytest.mark.parametrize("command", ["rollout", "reflect"])
def test_prompts_that_share_an_id_are_sampled_apart(cli: Cli, command: str) -> None:
    ran = cli(command, write(*TWINS), "--engine", "scripted", "-q", "-o", "out.jsonl")
    assert ran.code == 0
    made = lines(Path("out.jsonl").read_text())
    ids = list(dict.fromkeys(record["id"] for record in made))
    assert ids == [ids[0], f"{ids[0]}-2", "a", "a-2", "a-2-2", "a-3"]
    assert next(record["prompt"] for record in made if record["id"] == "a-2") == "4?"


def test_they_are_told_of_drawn_differently_and_go_on_where_they_stopped(cli: Cli) -> None:
    arguments = ("rollout", write(*TWINS), "--engine", "scripted", "-n", "8", "-o", "out.jsonl")
    ran = cli(*arguments)
    assert "4 prompts have the id of an earlier one; they are sampled apart, as " in ran.err
    whole = Path("out.jsonl").read_text()
    one, other = ([record["completion"] for record in lines(whole)[first:first + 8]] for first in (0, 8))
    assert one != other
    Path("out.jsonl").unlink()
    Path(".out.jsonl.partial").write_text("".join(line + "\n" for line in whole.splitlines()[:20]))
    assert cli(*arguments, "--resume").code == 0
    assert Path("out.jsonl").read_text() == whole


def test_rollouts_of_one_prompt_stay_a_group(cli: Cli) -> None:
    rollouts = cli("rollout", write(TWINS[0]), "--engine", "scripted", "-n", "2", "-q").out
    reflected = cli("reflect", "-", "--engine", "scripted", "-q", stdin=rollouts)
    assert len({record["id"] for record in lines(reflected.out)}) == 1


def begun(reply: str) -> str:
    return write({"prompt": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": reply}],
                  "answer": "4"})


def test_a_reply_that_has_begun_is_verified_as_a_whole(cli: Cli, model: Path) -> None:
    [rollout] = lines(cli("rollout", begun(r"It is \boxed{"), "-m", model, "-n", "1", "-q", "--max-tokens", "1").out)
    assert rollout["completion"].startswith(r"It is \boxed{") and len(rollout["token_ids"]) == 1
    statuses = []
    for said in ("4}", "5}"):
        rollout["completion"] = r"It is \boxed{" + said
        [scored] = lines(cli("verify", "-q", "--jobs", "1", stdin=json.dumps(rollout) + "\n").out)
        statuses.append(scored["verdict"]["status"])
    assert statuses == ["correct", "wrong"]


@pytest.mark.parametrize("reply", [r"It is \boxed{4}.", "#### 4", "The answer is 4."])
def test_a_reply_that_has_its_answer_already_is_not_the_models(cli: Cli, model: Path, reply: str) -> None:
    ran = cli("rollout", begun(reply), "-m", model, "-n", "1", "-q")
    assert ran.code == 1 and "which is to be continued, has an answer already" in lines(ran.out)[0]["error"]


def test_variables_of_the_template_come_from_flag_environment_and_recipe(
        cli: Cli, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    changed = tmp_path / "thinking"
    write_model(changed)
    template = (changed / "chat_template.jinja").read_text()
    (changed / "chat_template.jinja").write_text(template + "{% if not enable_thinking | default(true) %}#{% endif %}")
    arguments = ("rollout", write({"prompt": "2?"}), "-m", changed, "-n", "1", "-q", "--max-tokens", "1")

    def ends_so(*more: str) -> bool:
        [record] = lines(cli(*arguments, *more).out)
        return bool(record["prompt_token_ids"][-1] != lines(plain)[0]["prompt_token_ids"][-1])

    plain = cli(*arguments).out
    assert not ends_so("--chat-template-kwargs", "enable_thinking=true")
    assert ends_so("--chat-template-kwargs", "enable_thinking=False")
    assert ends_so("--chat-template-kwargs", '{"enable_thinking": false}')
    Path("recipe.toml").write_text("[model]\nchat_template_kwargs = {enable_thinking = false}\n")
    assert ends_so("--recipe", "recipe.toml")
    monkeypatch.setenv("SPARKCLI_MODEL_CHAT_TEMPLATE_KWARGS", '{"enable_thinking": false}')
    assert ends_so()
