"""`rollout` at a server that goes away, and one that never replies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from tests.engines.openai import faulty
from tests.engines.openai.faulty import Answerer, Running, serving

COUNT = 300


@pytest.fixture
def server() -> Iterator[tuple[Running, Answerer]]:
    with serving(answerer := Answerer()) as running:
        yield running, answerer


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    lines = [orjson.dumps({"id": str(number), "prompt": f"{number} + 1 = ?"}) for number in range(COUNT)]
    (tmp_path / "prompts.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return tmp_path / "prompts.jsonl"


def rollout(server: Answerer, *arguments: str | Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "sparkcli", "rollout", *map(str, arguments), "-n", "8", "--base-url", server.url,
               "--concurrency", "4", "--patience", "0.5"]
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, err = process.communicate(timeout=60)
    return process.returncode, err.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_server_killed_and_started_again_loses_and_doubles_nothing(
    server: tuple[Running, Answerer], prompts: Path, tmp_path: Path
) -> None:
    running, answerer = server
    assert ended(rollout(answerer, prompts, "-o", tmp_path / "whole.jsonl"))[0] == 0
    answerer.asked.clear()
    answerer.always = faulty.slow(0.01)
    process = rollout(answerer, prompts, "-o", tmp_path / "resumed.jsonl")
    wait_until_asked(answerer, 2 * COUNT // 3)
    running.stop(answerer)
    code, told = ended(process)
    assert code == 1 and "no server has answered for 0.5 s" in told and "--resume" in told
    running.start(answerer)
    asked = len(answerer.asked)
    assert ended(rollout(answerer, prompts, "-o", tmp_path / "resumed.jsonl", "--resume"))[0] == 0
    assert (tmp_path / "resumed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(answerer.asked) - asked < COUNT


@pytest.mark.slow
def test_ctrl_c_ends_at_once(server: tuple[Running, Answerer], prompts: Path) -> None:
    _, answerer = server
    answerer.always = faulty.hang
    process = rollout(answerer, prompts)
    wait_until_asked(answerer, 4)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "sparkcli: interrupted")
    assert time.monotonic() - start < 10  # what a busy machine takes to leave Python; a reply may take 600


def wait_until_asked(server: Answerer, count: int) -> None:
    end = time.monotonic() + 60
    while len(server.asked) < count and time.monotonic() < end:
        time.sleep(0.01)
    assert len(server.asked) >= count
