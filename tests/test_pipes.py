"""Commands as a shell runs them: files, redirects, pipes, readers that leave early, signals, `--resume`."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-c", "from sparkcli.commands.main import main; main()"]
SCRIPTED = "--engine scripted -n 4"
LONG = "rollout big.jsonl --engine scripted -n 8 --batch-size 64"
FILTERS = {
    "prepare": "prepare prompts.jsonl",
    "rollout": f"rollout prompts.jsonl {SCRIPTED}",
    "verify": "verify rollouts.jsonl --jobs 1",
    "recycle": "recycle scored.jsonl",
    "judge": "judge rollouts.jsonl --engine scripted",
    "reflect": "reflect prompts.jsonl --engine scripted",
}


def sh(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a bash script in which `sparkcli` is this checkout's; `status` ends it with the codes of its last pipe."""
    functions = f'sparkcli() {{ {shlex.join(PROGRAM)} "$@"; }}\nstatus() {{ echo "${{PIPESTATUS[*]}}" >&2; }}\n'
    return subprocess.run(["bash", "-c", functions + script], check=False, cwd=folder, text=True, timeout=300,
                          capture_output=True, env={**os.environ, "SPARKCLI_VERIFY_JOBS": "1"})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the outputs of the first stages, on 300 problems."""
    folder = tmp_path_factory.mktemp("work")
    made = sh(f"set -e -o pipefail\nsparkcli prepare builtin:tiny-math --limit 300 > prompts.jsonl\n"
              f"sparkcli rollout prompts.jsonl {SCRIPTED} > rollouts.jsonl\n"
              "sparkcli verify rollouts.jsonl > scored.jsonl\n", folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.parametrize("command", FILTERS)
def test_file_redirect_and_pipe_give_the_same(command: str, work: Path, tmp_path: Path):
    words = FILTERS[command].split()
    name, rest = words[1], shlex.join([words[0], "-", *words[2:]])
    ran = sh(f"set -e -o pipefail\nsparkcli {FILTERS[command]} -q > {tmp_path}/a\n"
             f"sparkcli {rest} -q < {name} > {tmp_path}/b\ncat {name} | sparkcli {rest} -q | cat > {tmp_path}/c\n"
             f"sparkcli {FILTERS[command]} -q -o {tmp_path}/d", work)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    contents = [(tmp_path / name).read_bytes() for name in "abcd"]
    assert contents[0] and contents.count(contents[0]) == 4


@pytest.mark.parametrize("command", FILTERS)
def test_a_reader_that_leaves_early(command: str, work: Path):
    ran = sh(f"sparkcli {FILTERS[command]} -q | head -1; status", work)
    assert len(ran.stdout.splitlines()) == 1
    assert ran.stderr == "0 0\n"


def test_suffixes_compress(work: Path, tmp_path: Path):
    ran = sh("set -e\n"
             f"for s in .gz .zst; do sparkcli rollout prompts.jsonl {SCRIPTED} -q -o {tmp_path}/r.jsonl$s\n"
             f"sparkcli verify {tmp_path}/r.jsonl$s -q -o {tmp_path}/s.jsonl$s; done\n"
             f"gunzip -c {tmp_path}/s.jsonl.gz | cmp - scored.jsonl\n"
             f"sparkcli recycle {tmp_path}/s.jsonl.zst > {tmp_path}/recycled\n"
             f"sparkcli recycle scored.jsonl | cmp - {tmp_path}/recycled\n", work)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "r.jsonl.zst").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def test_side_files_hold_what_was_inline(work: Path, tmp_path: Path):
    """The records differ only in where the arrays are, through every stage."""
    ran = sh(f"set -o pipefail\nsparkcli rollout prompts.jsonl {SCRIPTED} -q --tensors {tmp_path}/t.safetensors "
             f"| sparkcli verify -q > {tmp_path}/scored", work)
    assert (ran.returncode, ran.stderr) == (0, "")
    from sparkcli.files.jsonl import read
    from sparkcli.files.tensors import inline
    from sparkcli.records import Scored

    referring = list(read(str(tmp_path / "scored"), Scored))
    assert all(record.tensors and record.token_ids is None for record in referring)
    assert list(inline(referring)) == list(read(str(work / "scored.jsonl"), Scored))


def test_the_method_as_a_pipeline_scripted(work: Path):
    ran = sh("set -e -o pipefail\nsparkcli recycle scored.jsonl --max-judge 8 --max-reflect 8 "
             f"| sparkcli rollout - {SCRIPTED} | sparkcli verify > again.jsonl\n"
             "sparkcli train-step again.jsonl -m builtin:tiny-math -o policy --dry-run", work)
    assert ran.returncode == 0, ran.stderr
    again = [json.loads(line) for line in (work / "again.jsonl").read_text().splitlines()]
    assert {record["task"] for record in again} == {"judge", "compare", "reflect"}
    assert {record["verdict"]["status"] for record in again} <= {"correct", "wrong", "no_answer"}
    assert json.loads(ran.stdout)["rollouts"] == len(again) == 64


@pytest.mark.slow
def test_the_method_as_a_pipeline_on_the_built_in_model(tmp_path: Path):
    sampling = "-n 4 --max-tokens 48"
    ran = sh("set -e -o pipefail\nexport SPARKCLI_MODEL_NAME=builtin:tiny-math\n"
             "sparkcli prepare builtin:tiny-math --limit 24 > prompts.jsonl\n"
             f"sparkcli rollout prompts.jsonl {sampling} | sparkcli verify > scored.jsonl\n"
             "sparkcli train-step scored.jsonl -o policy/1 > 1.json\n"
             f"sparkcli recycle scored.jsonl | sparkcli rollout - --policy policy/1 {sampling} "
             "| sparkcli verify > again.jsonl\n"
             "sparkcli train-step again.jsonl --policy policy/1 -o policy/2 > 2.json\n"
             "sparkcli export policy/2 -o merged\n", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr and "Traceback" not in ran.stderr
    first, second = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2))
    assert (first["stale_policy"], second["stale_policy"], second["phase"]) == (0, 0, 2)
    states = [json.loads((tmp_path / "policy" / n / "trainer_state.json").read_text()) for n in "12"]
    sampled_by = {json.loads(line)["policy"] for line in (tmp_path / "again.jsonl").read_text().splitlines()}
    assert sampled_by == {states[1]["parent"]} != {states[0]["parent"]}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(tmp_path / "merged"))


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a rollout that takes seconds, and what it comes to."""
    folder = tmp_path_factory.mktemp("big")
    made = sh("set -e\nsparkcli prepare builtin:tiny-math --limit 3000 > big.jsonl\n"
              f"sparkcli {LONG} > whole.jsonl", folder)
    assert made.returncode == 0, made.stderr
    return folder


def started(command: str, folder: Path, partial: str, size: int = 1_000_000) -> subprocess.Popen[str]:
    """A command of its own session, with some of its output written."""
    process = subprocess.Popen([*PROGRAM, *command.split()], cwd=folder, text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (folder / partial).exists() or (folder / partial).stat().st_size < size:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr
        time.sleep(0.005)
    return process


def session_is_gone(process: subprocess.Popen[str]) -> bool:
    """Whether no process of the command's session is left: no orphans."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == process.pid and state != "Z":
            return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_an_interrupted_rollout_goes_on_to_the_same_bytes(number: signal.Signals, big: Path):
    out = f"{number.name}.jsonl"
    process = started(f"{LONG} -o {out}", big, f".{out}.partial")
    process.send_signal(number)
    sent = time.monotonic()
    _, message = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    assert not (big / out).exists()
    if number is not signal.SIGKILL:
        assert process.returncode == 130
        assert message == (f"sparkcli: interrupted; what is done stays in .{out}.partial, "
                           "--resume goes on from there\n")
    ran = sh(f"sparkcli {LONG} -o {out} --resume && cmp {out} whole.jsonl", big)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "completions for 3000" not in ran.stderr  # it did not begin anew
    assert not (big / f".{out}.partial").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_an_interrupted_verify_leaves_no_workers(number: signal.Signals, big: Path):
    """Even where the parent was killed and could not end them: their input ends with it."""
    out = f"verified-{number.name}.jsonl"
    process = started(f"verify whole.jsonl --jobs 2 -o {out}", big, f".{out}.partial", size=100_000)
    process.send_signal(number)
    _, message = process.communicate(timeout=30)
    if number is not signal.SIGKILL:
        assert process.returncode == 130 and message.startswith("sparkcli: interrupted; ")
    deadline = time.monotonic() + 10
    while not session_is_gone(process):
        assert time.monotonic() < deadline, "workers outlive the command"
        time.sleep(0.05)


def test_an_interruption_through_a_pipe_keeps_whole_lines(big: Path):
    with open(big / "cut.jsonl", "wb") as out:
        process = subprocess.Popen([*PROGRAM, *LONG.split()], cwd=big, stdout=out, stderr=subprocess.PIPE, text=True)
        while (big / "cut.jsonl").stat().st_size < 100_000:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        _, message = process.communicate(timeout=30)
    assert (process.returncode, message) == (130, "sparkcli: interrupted\n")
    cut = (big / "cut.jsonl").read_bytes()
    assert cut.endswith(b"\n") and (big / "whole.jsonl").read_bytes().startswith(cut)


def test_output_that_nobody_can_keep(big: Path):
    for command in (LONG, "schema scored", "bench list", "--help", "verify --help"):
        ran = sh(f"sparkcli {command} > /dev/full", big)
        assert ran.returncode == 1
        assert ran.stderr.startswith("sparkcli: standard output: ") and ran.stderr.count("\n") == 1
        assert "No space left on device" in ran.stderr


def test_verdicts_do_not_wait_for_the_next_rollout(tmp_path: Path):
    """A program may write a rollout, read its verdict, and decide what to ask next."""
    checks = [("5", "5"), ("x + y", "y + x"), ("x + y", "x - y"), ("6", "7")]
    process = subprocess.Popen([*PROGRAM, "verify", "--jobs", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, bufsize=1, cwd=tmp_path)
    assert process.stdin and process.stdout and process.stderr
    statuses = []
    for number, (gold, answer) in enumerate(checks):
        record = {"id": str(number), "sample": 0, "samples": 1, "answer": gold, "completion": rf"\boxed{{{answer}}}"}
        process.stdin.write(json.dumps(record) + "\n")
        statuses.append(json.loads(process.stdout.readline())["verdict"]["status"])
    assert statuses == ["correct", "correct", "wrong", "wrong"]
    assert process.communicate()[1].startswith("4 verdicts")
    assert process.returncode == 0
