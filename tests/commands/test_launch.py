"""`train-step --num-processes`: one command, however many processes it is; and other launchers of the same."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tests.commands.conftest import Cli
from tests.training.real import alternately, rollouts

from sparkcli.records import Scored, dumps

REPOSITORY = Path(__file__).parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
TRAIN = (sys.executable, "-m", "sparkcli", "train-step", "-m", "builtin:tiny-math", "--updates", "1", "--device",
         "cpu")


@pytest.fixture(scope="module")
def records() -> list[Scored]:
    return alternately(rollouts(prompts=5))


@pytest.fixture
def work(records: list[Scored], tmp_path: Path) -> Path:
    """A folder with `scored.jsonl`, as are `broken` (its last line) and `infinite` (one sample's loss)."""
    lines = list(map(dumps, records))
    last = replace(records[-1], logprobs=(-1000.0,) * len(records[-1].logprobs or ()))
    (tmp_path / "scored.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "broken.jsonl").write_bytes(b"".join([*lines, b"{}\n"]))
    (tmp_path / "infinite.jsonl").write_bytes(b"".join([*lines[:-1], dumps(last)]))
    return tmp_path


def run(work: Path, *command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, command)), check=False, cwd=work, env=ENVIRON, capture_output=True, text=True,
                          **options)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.slow
def test_a_file_and_standard_input_give_the_same_policy(work: Path) -> None:
    file = run(work, *TRAIN, "scored.jsonl", "-o", "file", "--num-processes", "2")
    with (work / "scored.jsonl").open() as stream:
        piped = run(work, *TRAIN, "-", "-o", "piped", "--num-processes", "2", stdin=stream)
    assert (file.returncode, piped.returncode) == (0, 0), file.stderr + piped.stderr
    assert (file.stderr, piped.stderr) == ("", "")
    assert len(file.stdout.splitlines()) == len(piped.stdout.splitlines()) == 1
    assert contents(work / "file") == contents(work / "piped")
    assert {path.name for path in work.iterdir() if path.is_dir()} == {"file", "piped"}


@pytest.mark.slow
def test_accelerate_launch_with_the_recipe_for_shards(work: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = run(work, Path(sys.executable).parent / "accelerate", "launch", "--config_file",
                   REPOSITORY / "recipes" / "accelerate-fsdp2.yaml", "--num_machines", "1", "--num_processes", "2",
                   "--main_process_ip", "127.0.0.1", "--main_process_port", str(port), *TRAIN[1:], "scored.jsonl",
                   "-o", "shards")
    assert launched.returncode == 0, launched.stderr
    assert len(launched.stdout.splitlines()) == 1
    alone = run(work, *TRAIN, "scored.jsonl", "-o", "alone")
    assert alone.returncode == 0, alone.stderr
    for name, expected in load_file(work / "alone" / "optimizer.safetensors").items():
        found = load_file(work / "shards" / "optimizer.safetensors")[name]
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--shard",)])
def test_a_loss_that_is_not_finite_in_one_process_stops_all_and_names_the_record(
        work: Path, records: list[Scored], flags: tuple[str, ...]) -> None:
    ended = run(work, *TRAIN, "infinite.jsonl", "-o", "policy", "--num-processes", "2", *flags)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"sparkcli: prompt '{records[-1].id}', sample {records[-1].sample}: the loss or")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stdout == "" and not (work / "policy").exists()


def test_an_error_that_all_processes_meet_is_told_once(work: Path) -> None:
    ended = run(work, *TRAIN, "broken.jsonl", "-o", "policy", "--num-processes", "2")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (3, 1)
    assert ended.stderr.startswith("sparkcli: broken.jsonl:21: ")


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


@pytest.fixture
def running(work: Path) -> Iterator["subprocess.Popen[str]"]:
    """A launcher whose processes are at it."""
    with subprocess.Popen([*TRAIN, "scored.jsonl", "-o", "policy", "--num-processes", "2"], cwd=work, env=ENVIRON,
                          stderr=subprocess.PIPE, text=True, start_new_session=True) as launcher:
        while len(children(launcher.pid)) < 2:
            assert launcher.poll() is None, launcher.stderr and launcher.stderr.read()
            time.sleep(0.05)
        time.sleep(1)  # past the first imports, so that they notice when the launcher is gone
        yield launcher
        launcher.kill()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize(("killed", "number", "code", "told"), [
    ("launcher", signal.SIGINT, 130, "sparkcli: interrupted\n"),
    ("launcher", signal.SIGTERM, 130, "sparkcli: interrupted\n"),
    ("launcher", signal.SIGKILL, -9, ""),
    ("process", signal.SIGKILL, 1, "was killed (signal 9); if memory ran out, lower --tokens-per-batch\n"),
])
def test_processes_end_together(running: "subprocess.Popen[str]", killed: str, number: signal.Signals, code: int,
                                told: str) -> None:
    processes = children(running.pid)
    os.kill(running.pid if killed == "launcher" else processes[1], number)
    assert running.wait(60) == code
    assert running.stderr is not None and running.stderr.read().endswith(told)
    end = time.monotonic() + 60
    while any(map(is_alive, processes)):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("arguments", "told"), [
    (("-",), "standard input reaches only one of the processes"),
    (("pipe",), "pipe: is a pipe, which only one of the processes could read"),
    (("scored.jsonl", "--num-processes", "3"), "--num-processes 3: a launcher started 2 already"),
])
def test_what_other_launchers_cannot_have(cli: Cli, work: Path, monkeypatch: pytest.MonkeyPatch,
                                          arguments: tuple[str, ...], told: str) -> None:
    monkeypatch.chdir(work)
    os.mkfifo("pipe")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    ended = cli("train-step", *arguments, "-m", "builtin:tiny-math", "-o", "policy")
    assert (ended.code, ended.err.startswith(f"sparkcli: {told}")) == (2, True)


@pytest.mark.parametrize(("flags", "told"), [
    (("--shard",), "--shard cuts weights over several processes; give --num-processes"),
    (("--num-processes", "0"), "Invalid value for '--num-processes'"),
])
def test_flags_that_do_not_fit(cli: Cli, work: Path, flags: tuple[str, ...], told: str) -> None:
    ended = cli("train-step", work / "scored.jsonl", "-m", "builtin:tiny-math", "-o", work / "policy", *flags)
    assert (ended.code, told in ended.err) == (2, True), ended.err
