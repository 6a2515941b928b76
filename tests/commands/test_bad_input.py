"""What goes wrong is told in one line with the right exit code, and nothing is lost."""

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.commands.conftest import Cli

SCRIPTED = ("--engine", "scripted")
READERS = {
    "rollout": ("rollout", *SCRIPTED),
    "verify": ("verify",),
    "recycle": ("recycle",),
    "train-step": ("train-step", "-m", "builtin:tiny-math", "-o", "policy"),
    "judge": ("judge", *SCRIPTED),
    "reflect": ("reflect", *SCRIPTED),
    "prepare": ("prepare",),
}
STREAMING = ("rollout", "verify", "judge", "reflect")


def one_line(message: str) -> bool:
    return message.startswith("sparkcli: ") and message.count("\n") == 1 and message.endswith("\n")


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize(("name", "message"), [
    ("empty.jsonl", "empty.jsonl: empty; expected"),
    ("nowhere.jsonl", "nowhere.jsonl: No such file or directory"),
    ("folder", "folder: is a directory; expected a file"),
])
def test_inputs_that_are_none(command: str, name: str, message: str, cli: Cli, inputs: Path):
    if command == "prepare" and name == "folder":
        return  # a folder may be a dataset
    (inputs / "empty.jsonl").touch()
    (inputs / "folder").mkdir()
    result = cli(*READERS[command], name)
    assert (result.code, result.out) == (3, "")
    assert message in result.err and one_line(result.err)
    assert not list(inputs.glob(".*.partial"))


@pytest.mark.parametrize("command", STREAMING)
@pytest.mark.parametrize(("broken", "message"), [
    ("{\"id\": \"cut\", ", "not JSON"),
    ('{"id": "cut", "sample": 0, "samples": 1}', ": expected in a"),
    ('{"id": "cut", "prompt": 7, "sample": 0, "samples": 1, "completion": ""}', "prompt: expected a string"),
    ('["cut"]', "expected a JSON object, found a list"),
])
def test_what_stands_before_a_broken_line_is_done(command: str, broken: str, message: str, cli: Cli, inputs: Path):
    """On standard output, or in the partial file, from where `--resume` continues once the line is mended."""
    lines = (inputs / "rollouts.jsonl").read_text().splitlines()
    (inputs / "whole.jsonl").write_text("\n".join(lines))
    (inputs / "broken.jsonl").write_text("\n".join([*lines[:4], broken, *lines[4:]]))
    whole = cli(*READERS[command], "whole.jsonl", "-q").out.splitlines()

    piped = cli(*READERS[command], "broken.jsonl", "-q")
    assert piped.code == 3 and "broken.jsonl:5: " in piped.err and message in piped.err and one_line(piped.err)
    done = piped.out.splitlines()
    assert done == whole[:len(done)] and len(done) * len(lines) == 4 * len(whole)

    kept = cli(*READERS[command], "broken.jsonl", "-o", "out.jsonl")
    assert kept.code == 3 and "--resume goes on from there" in kept.err and one_line(kept.err)
    assert (inputs / ".out.jsonl.partial").read_text().splitlines() == done
    assert not (inputs / "out.jsonl").exists()
    assert cli(*READERS[command], "whole.jsonl", "-o", "out.jsonl", "--resume").code == 0
    assert (inputs / "out.jsonl").read_text().splitlines() == whole
    assert not list(inputs.glob(".*.partial"))


@pytest.mark.parametrize("command", ["recycle", "train-step"])
def test_who_needs_the_whole_input_writes_nothing_when_a_line_is_broken(command: str, cli: Cli, inputs: Path):
    scored = inputs / "scored.jsonl"
    scored.write_text(scored.read_text() + '{"id": 3}\n')
    result = cli(*READERS[command], "scored.jsonl", *(() if command == "train-step" else ("-o", "out.jsonl")))
    assert (result.code, result.out) == (3, "")
    assert result.err == "sparkcli: scored.jsonl:8: id: expected a string, found an integer (3)\n"
    assert not list(inputs.glob("*out.jsonl*")) and not (inputs / "policy").exists()


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(("arguments", "message"), [
    ("rolout prompts.jsonl", "no command 'rolout'; did you mean 'rollout'?"),
    ("rollout --tempratur 1", "No such option: --tempratur"),
    ("rollout --seed one", "Invalid value for '--seed'"),
    ("rollout prompts.jsonl --engine vlm", "--engine: 'vlm' is not one of auto, transformers, vllm, openai, scripted"),
    ("rollout prompts.jsonl --top-p 3", "--top-p: 3.0 is out of bounds; expected 0 to 1"),
    ("rollout prompts.jsonl --engine scripted --resume", "--resume continues a file; name one with -o"),
    ("rollout prompts.jsonl --engine scripted -o .", ".: is a directory; name a file"),
    ("rollout prompts.jsonl --engine scripted -o no/where", "no/where: there is no folder no"),
    ("rollout prompts.jsonl --engine scripted --tensors a.bin", "expects a name that ends in .safetensors"),
    ("rollout prompts.jsonl --engine scripted --tensors no/a.safetensors", "there is no folder no"),
    ("rollout prompts.jsonl --engine scripted --policy nowhere", "policy nowhere: no such directory"),
    ("train-step scored.jsonl -o .", ".: exists and holds something else (no trainer_state.json in it)"),
    ("train-step scored.jsonl -o p --dry-run -m builtin:tiny", "model 'builtin:tiny': unknown; did you mean"),
    ("train-step scored.jsonl -o p --dry-run -m ./nowhere", "model './nowhere': no such folder"),
    ("verify rollouts.jsonl --verifier maths", "unknown name 'maths'; did you mean 'math'?"),
    ("recycle scored.jsonl --templates nowhere", "nowhere/pointwise.toml: No such file or directory"),
    ("recycle scored.jsonl --recipe typo.toml", "rollout.tempratur: unknown key; did you mean 'temperature'?"),
    ("recycle scored.jsonl --recipe prompts.jsonl", "prompts.jsonl: not TOML"),
    ("prepare builtin:tiny-maths", "no such built-in task; did you mean 'tiny-math'?"),
    ("prepare builtin:tiny-math --split tests", "no split 'tests'; did you mean 'test'?"),
    ("prepare prompts.jsonl --map question", "--map question: expected FIELD=COLUMN"),
    *((command, "which model? name one with -m, e.g. -m Qwen/Qwen2.5-1.5B-Instruct, or -m builtin:tiny-math")
      for command in ("rollout prompts.jsonl", "rollout prompts.jsonl --dry-run", "judge rollouts.jsonl",
                      "reflect prompts.jsonl", "bench run tiny-math", "serve", "serve --dry-run --device cpu",
                      "train-step scored.jsonl -o p", "train-step scored.jsonl --probe",
                      "train-step scored.jsonl --dry-run --recipe recipe.toml", "rollout prompts.jsonl --policy p")),
    ("loop", "which model? name it in the recipe's [model] as name, or with --set model.name="),
    ("loop --set model.name=", "which model? name it in the recipe's [model] as name"),
    ("loop --set model.name=builtin:tiny-math", "which prompts? name them in the recipe's [loop] as prompts"),
    ("bench", "Missing command; see sparkcli bench --help"),
    ("loop --set a=b", "--set 'a=b': expected SECTION.KEY=VALUE"),
    ("loop nowhere.toml", "nowhere.toml: No such file or directory"),
])
def test_wrong_usage(arguments: str, message: str, cli: Cli):
    result = cli(*arguments.split())
    assert (result.code, result.out) == (2, "")
    assert message in result.err and one_line(result.err)


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("damage", ["missing", "cut short"])
@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "trainer_state.json"])
def test_a_damaged_policy(name: str, damage: str, cli: Cli, adapter: Path):
    """Told before anything is sampled, by the file's name."""
    path = adapter / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut short":
        path.write_bytes(content[:len(content) // 2])
    result = cli("rollout", "prompts.jsonl", *SCRIPTED, "--policy", adapter)
    assert (result.code, result.out) == (2, "")
    assert name in result.err and one_line(result.err)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A policy directory as `check_policy` sees it: the smallest that is whole."""
    folder = tmp_path / "policy"
    folder.mkdir()
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    for name in ("adapter_model.safetensors", "optimizer.safetensors"):
        (folder / name).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    (folder / "adapter_config.json").write_text('{"r": 4}')
    (folder / "trainer_state.json").write_text('{"base": {"name": "m", "fingerprint": "f"}}')
    return folder


def test_an_unknown_model_on_the_hub(cli: Cli, inputs: Path):
    result = cli("rollout", "prompts.jsonl", "-m", "nobody/nothing", "-o", "out.jsonl")
    assert (result.code, result.out) == (2, "")
    assert "model 'nobody/nothing': not a folder here, not in the hub cache" in result.err and one_line(result.err)
    assert not list(inputs.glob("*out.jsonl*"))


@pytest.mark.parametrize("command", [name for name in READERS if name != "train-step"])
def test_a_device_that_is_full(command: str, cli: Cli, inputs: Path):
    source = "scored.jsonl" if command == "recycle" else "rollouts.jsonl"
    result = cli(*READERS[command], source, "-q", "-o", "/dev/full")
    assert result.code == 1
    assert result.err == "sparkcli: /dev/full: cannot be written: No space left on device\n"


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Files cannot grow beyond a number of bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_disk_that_fills_up_mid_rollout(suffix: str, cli: Cli, inputs: Path,
                                          small_disk: Callable[[int], None]):
    rollout = ("rollout", "prompts.jsonl", *SCRIPTED, "-n", "64", "-q", "-o", f"out.jsonl{suffix}")
    small_disk(10_000)
    result = cli(*rollout)
    small_disk(resource.RLIM_INFINITY)
    assert result.code == 1 and one_line(result.err)
    assert f"out.jsonl{suffix}: cannot be written: File too large" in result.err
    assert os.path.exists(f".out.jsonl{suffix}.partial") and not os.path.exists(f"out.jsonl{suffix}")
    assert cli(*rollout, "--resume").code == 0
    (continued := inputs / f"out.jsonl{suffix}").rename(inputs / f"continued{suffix}")
    assert cli(*rollout).code == 0
    assert continued.read_bytes() == (inputs / f"continued{suffix}").read_bytes()


def test_a_disk_that_fills_up_leaves_no_prompts_and_no_side_file(cli: Cli, inputs: Path,
                                                                 small_disk: Callable[[int], None]):
    small_disk(1000)
    result = cli("prepare", "builtin:tiny-math", "--limit", "100", "-o", "out.jsonl")
    assert result.code == 1 and one_line(result.err)
    result = cli("rollout", "prompts.jsonl", *SCRIPTED, "--tensors", "a.safetensors", "-o", "out.jsonl")
    assert result.code == 1 and "a.safetensors: cannot be written" in result.err
    assert not list(inputs.glob("*out.jsonl*")) and not list(inputs.glob("*a.safetensors*"))


@pytest.mark.usefixtures("inputs")
def test_verbose_shows_where(cli: Cli):
    result = cli("verify", "nowhere.jsonl", "-v")
    first, *_, last = result.err.splitlines()
    assert result.code == 3 and first.startswith("Traceback")
    assert last == "sparkcli: nowhere.jsonl: No such file or directory"
