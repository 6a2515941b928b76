"""Servers that die or hang in the middle of a rollout: nothing is lost, nothing is there twice, nothing waits for ever.

Real processes: `sparkcli serve`, `sparkcli rollout`, SIGKILL and SIGSTOP.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from tests.vllm.server import Server, serving, until

from sparkcli.files.jsonl import read
from sparkcli.records import Rollout

Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.slow

PROMPTS = 1000
SAMPLES = 2
IDS = [f"p{number:04}" for number in range(PROMPTS)]
EARLY = 100
"""Lines of the output at which it is the middle of the rollout."""


class House:
    """A server that can be killed and started again where it was."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.server: Server | None = None
        self.stack = contextlib.ExitStack()

    def up(self) -> Server:
        """The server, started if it is not running."""
        if self.server is None or self.server.process.poll() is not None:
            port = ("--port", str(self.server.port)) if self.server else ()
            log = self.folder / f"{time.monotonic_ns()}.log"
            self.server = self.stack.enter_context(serving(self.model, *port, log=log))
        return self.server


@pytest.fixture(scope="module")
def house(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    place = House(model_folder, tmp_path_factory.mktemp("house"))
    with place.stack:
        yield place


@pytest.fixture(scope="module")
def second(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    place = House(model_folder, tmp_path_factory.mktemp("second"))
    with place.stack:
        yield place


@pytest.fixture
def start(model_folder: Path, tmp_path: Path) -> Iterator[Start]:
    """`start([server, …], "--patience", "5")`: a rollout of 1,000 prompts into `tmp_path/out.jsonl` begins."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_bytes(b"".join(orjson.dumps({"id": name, "prompt": f"{name}?"}) + b"\n" for name in IDS))
    running: list[subprocess.Popen[str]] = []

    def begin(servers: list[Server], *arguments: str) -> "subprocess.Popen[str]":
        places = [word for server in servers for word in ("--base-url", server.base_url)]
        command = ["rollout", str(prompts), "-o", str(tmp_path / "out.jsonl"), "-m", str(model_folder), "-n",
                   str(SAMPLES), "--max-tokens", "16", "--concurrency", "32", *places, *arguments]
        running.append(subprocess.Popen([sys.executable, "-m", "sparkcli", *command], stderr=subprocess.PIPE,
                                        text=True))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def written(folder: Path) -> list[str]:
    """The ids of the lines that are written so far."""
    path = next((p for p in (folder / "out.jsonl", folder / ".out.jsonl.partial") if p.exists()), None)
    lines = path.read_bytes().splitlines(keepends=True) if path else []
    return [orjson.loads(line)["id"] for line in lines if line.endswith(b"\n")]


def in_the_middle(folder: Path, process: "subprocess.Popen[str]") -> None:
    """Returns when some, and by far not all, prompts are done."""
    assert until(lambda: len(written(folder)) > EARLY, 120), process.poll()
    assert process.poll() is None
    assert len(written(folder)) < PROMPTS


def check_whole(folder: Path) -> None:
    """Every prompt is there with all its samples, in order, and none of them failed."""
    lines = list(read(str(folder / "out.jsonl"), Rollout))
    assert [(line.id, line.sample) for line in lines] == [(name, k) for name in IDS for k in range(SAMPLES)]
    assert {line.finish_reason for line in lines} <= {"stop", "length"}
    assert all(len(line.token_ids or ()) == len(line.logprobs or ()) > 0 for line in lines)
    assert len({line.policy for line in lines}) == 1


def test_two_servers_one_killed_the_other_takes_all(house: House, second: House, start: Start,
                                                    tmp_path: Path) -> None:
    process = start([house.up(), second.up()])
    in_the_middle(tmp_path, process)
    second.up().kill()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    check_whole(tmp_path)
    assert second.server is not None
    assert f"127.0.0.1:{second.server.port}" in errors and "left out" in errors
    assert second.server.process.returncode == 1
    assert "vLLM was killed (signal 9)" in second.server.said()


def test_killed_and_restarted_the_rollout_goes_on_by_itself(house: House, start: Start,
                                                            tmp_path: Path) -> None:
    process = start([house.up()], "--patience", "300")
    in_the_middle(tmp_path, process)
    house.up().kill()
    house.up()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    check_whole(tmp_path)
    assert "answers again" in errors


def test_killed_and_not_restarted_it_gives_up_and_resumes_later(
        house: House, start: Start, tmp_path: Path) -> None:
    process = start([house.up()], "--patience", "3")
    in_the_middle(tmp_path, process)
    house.up().kill()
    killed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert "no server has answered for 3 s" in last and "--resume" in last
    done = written(tmp_path)
    assert not (tmp_path / "out.jsonl").exists()
    assert done == [name for name in IDS for _ in range(SAMPLES)][:len(done)] and len(done) > EARLY

    again = start([house.up()], "--resume")
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    check_whole(tmp_path)


def test_a_server_that_hangs_is_given_up_in_time(house: House, start: Start,
                                                 tmp_path: Path) -> None:
    process = start([house.up()], "--patience", "3", "--timeout", "5", "--retries", "2")
    in_the_middle(tmp_path, process)
    os.kill(house.up().vllm, signal.SIGSTOP)
    stopped = time.monotonic()
    _, errors = process.communicate(timeout=120)
    assert time.monotonic() - stopped < 60
    assert process.returncode == 1
    assert "no server has answered for 3 s" in errors.splitlines()[-1]
    os.kill(house.up().vllm, signal.SIGCONT)
    again = start([house.up()], "--resume")
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    check_whole(tmp_path)
