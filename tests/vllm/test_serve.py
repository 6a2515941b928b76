"""`sparkcli serve` for real: what it serves, how it ends, and how it says why it did not start."""

import os
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.models.vision import write_vision_model
from tests.vllm.server import QUIET, Server, descendants, is_alive, serving, until

from sparkcli.config import ModelConfig, ServeConfig
from sparkcli.engines.vllm import server as flags
from sparkcli.engines.vllm import settings
from sparkcli.models.fingerprint import policy_fingerprint

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module")
def adapted(model_folder: Path, policies: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
            ) -> Iterator[Server]:
    """A server that was started with an adapter, under a name of its own for the model."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with serving(model_folder, "--policy", str(policies["lora"]), "--served-name", "learner", log=log) as server:
        yield server


def sparkcli(*arguments: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "sparkcli", *map(str, arguments)], env={**os.environ, **QUIET},
                          capture_output=True, text=True, check=False, **options)


def cards(server: Server) -> dict[str, dict[str, Any]]:
    """What the server lists, by name."""
    with urllib.request.urlopen(f"{server.base_url}/models") as reply:
        return {card["id"]: card for card in orjson.loads(reply.read())["data"]}


def rollouts(server: Server, model: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    prompts = b"".join(orjson.dumps({"id": f"p{i}", "prompt": f"{i} + {i} = "}) + b"\n" for i in range(4))
    done = sparkcli("rollout", "-", "-m", model, "-n", "2", "--max-tokens", "8", "--base-url", server.base_url,
                    *arguments, input=prompts.decode())
    assert done.returncode == 0, done.stderr
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def test_the_policy_is_served_under_a_name_of_its_own(adapted: Server, model_folder: Path,
                                                      policies: dict[str, Path]) -> None:
    listed = cards(adapted)
    assert (adapted.model, adapted.policy) == ("learner", policy_fingerprint(policies["lora"]))
    assert listed["learner"]["root"] == str(model_folder)
    assert listed[adapted.policy or ""]["root"] == str(policies["lora"])
    assert listed[adapted.policy or ""]["parent"] == "learner"


def test_it_is_sampled_without_being_loaded(adapted: Server, model_folder: Path, policies: dict[str, Path]) -> None:
    with_policy = rollouts(adapted, model_folder, "--policy", policies["lora"])
    assert {line["policy"] for line in with_policy} == {adapted.policy}
    assert all(line["token_ids"] and line["logprobs"] for line in with_policy)
    bare = rollouts(adapted, model_folder)
    assert [line["completion"] for line in bare] != [line["completion"] for line in with_policy]


def test_another_policy_is_loaded_at_run_time(adapted: Server, model_folder: Path, policies: dict[str, Path]) -> None:
    found = rollouts(adapted, model_folder, "--policy", policies["lora2"], "--sync-adapters")
    assert {line["policy"] for line in found} == {policy_fingerprint(policies["lora2"])}


def test_interrupted_it_ends_with_all_its_processes(adapted: Server) -> None:
    processes = descendants(adapted.process.pid)
    assert len(processes) >= 3  # the guardian, the server, the engine
    assert adapted.end() == 130
    assert [pid for pid in processes if is_alive(pid)] == []
    assert "sparkcli: interrupted" in adapted.said()


def test_full_weights_are_served_and_nothing_outlives_a_killed_command(
        model_folder: Path, policies: dict[str, Path], tmp_path: Path) -> None:
    with serving(model_folder, "--policy", str(policies["full"]), "--max-lora-rank", "0", log=tmp_path / "log") as full:
        assert cards(full)[str(model_folder)]["root"] == str(policies["full"])
        found = rollouts(full, model_folder, "--policy", policies["full"])
        assert {line["policy"] for line in found} == {policy_fingerprint(policies["full"])}
        processes = descendants(full.process.pid)
        full.process.send_signal(signal.SIGKILL)
        assert until(lambda: not any(map(is_alive, processes)), 30)


@pytest.mark.parametrize(("arguments", "code", "told"), [
    (("--max-model-len", "100000"), 1, r"vLLM ended by itself \(exit code 1\).*max_model_len \(100000\) is greater"),
    (("--vllm", "no_such_thing=3"), 1, "unrecognized arguments: --no-such-thing"),
])
def test_why_it_did_not_start_is_told_in_one_line(arguments: tuple[str, ...], code: int, told: str,
                                                  model_folder: Path) -> None:
    done = sparkcli("serve", "-q", "-m", model_folder, "--port", "0", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(told, done.stderr)


def test_dry_run_prints_a_line_for_the_shell(model_folder: Path) -> None:
    done = sparkcli("serve", "-m", model_folder, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"VLLM_SERVER_DEV_MODE=1 .*python -P -m vllm\..* --port 8000 ", done.stdout)


OPTIONS = """
import json
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
actions = make_arg_parser(FlexibleArgumentParser())._actions
print(json.dumps({flag: [str(choice) for choice in action.choices or ()]
                  for action in actions for flag in action.option_strings}))
"""


@pytest.fixture(scope="module")
def options() -> dict[str, list[str]]:
    """The options of vLLM's server as its own parser has them, each with its choices."""
    printed = subprocess.run([sys.executable, "-c", OPTIONS], stdout=subprocess.PIPE, check=True).stdout
    found: dict[str, list[str]] = orjson.loads(printed.splitlines()[-1])
    return found


def test_vllm_knows_every_flag_that_it_is_given(options: dict[str, list[str]], model_folder: Path,
                                                policies: dict[str, Path]) -> None:
    for on_cpu in (False, True):
        model = ModelConfig(name=str(model_folder), policy=str(policies["lora"]), trust_remote_code=True)
        config = ServeConfig(port=0, max_model_len=256)
        found = flags.arguments(model_folder, model, config, flags.served(model, config), on_cpu=on_cpu)
        given = {word for word in flags.command(found) if word.startswith("--")}
        assert given <= options.keys()
    assert {f"--{key.replace('_', '-')}" for key in flags.OURS} | {"--enable-tower-connector-lora"} <= options.keys()
    assert options["--max-lora-rank"] == [str(rank) for rank in settings.LORA_RANKS]


def test_vllm_knows_every_flag_of_a_model_that_reads_images(options: dict[str, list[str]], tmp_path: Path) -> None:
    folder = write_vision_model(tmp_path / "model")
    model, config = ModelConfig(name=str(folder)), ServeConfig(port=0)
    found = flags.arguments(folder, model, config, flags.served(model, config), on_cpu=False)
    assert {"mm_processor_kwargs", "mm_device_do_normalize"} < found.keys()
    assert {word for word in flags.command(found) if word.startswith("--")} <= options.keys()


def test_vllm_knows_every_option_that_the_recipes_pass_on(options: dict[str, list[str]]) -> None:
    text = (RECIPES / "scale-out.md").read_text(encoding="utf-8")
    named = set(re.findall(r"--vllm ([a-z_-]+)=", text))
    for line in text.splitlines():
        if "vllm serve" in line:
            named |= set(re.findall(r" --([\w-]+)", line))
    for path in RECIPES.glob("*.toml"):
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        named |= {key for section in recipe.values() for key in section.get("vllm", {})}
    assert {"tensor_parallel_size", "headless"} <= named
    assert {f"--{name.replace('_', '-')}" for name in named} <= options.keys()
