"""`report`: where the page goes, and what is said."""

import gzip
import os
import threading
from pathlib import Path

import pytest
from tests.commands.conftest import Cli


@pytest.mark.parametrize(("source", "page"), [
    ("scored.jsonl", "scored.html"), ("packed.jsonl.gz", "packed.html"), ("records", "records.html"),
    ("sub/scored.jsonl", "sub/scored.html"),
])
def test_the_page_stands_beside_the_file(source: str, page: str, cli: Cli, inputs: Path):
    content = (inputs / "scored.jsonl").read_bytes()
    (inputs / "sub").mkdir()
    (inputs / source).write_bytes(gzip.compress(content) if source.endswith(".gz") else content)
    result = cli("report", source)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"wrote {page}: 4 of 4 prompts\n"
    assert (inputs / page).read_bytes().startswith(b"<!DOCTYPE html>")
    assert not list(inputs.glob("**/.*.partial"))


def test_of_a_run_it_stands_in_its_directory(cli: Cli, inputs: Path):
    (inputs / "runs").mkdir()
    (inputs / "runs" / "recipe.toml").write_text("[loop]\nsteps = 3\n")
    assert cli("report", "runs").err == "wrote runs/report.html: 0 of 3 steps; 0 of 0 prompts\n"
    assert (inputs / "runs" / "report.html").exists()


def test_standard_input_and_output(cli: Cli, inputs: Path):
    records = (inputs / "scored.jsonl").read_text()
    assert cli("report", "-", "-o", "page.html", "-q", stdin=records).err == ""
    piped = cli("report", "-", "-o", "-", stdin=records)
    assert piped.out == (inputs / "page.html").read_text() and piped.err == "wrote the page: 4 of 4 prompts\n"


def test_settings(cli: Cli, inputs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPARKCLI_REPORT_LIMIT", "3")
    assert cli("report", "scored.jsonl").err == "wrote scored.html: 3 of 4 prompts\n"
    assert cli("report", "scored.jsonl", "--limit", "2").err == "wrote scored.html: 2 of 4 prompts\n"


def test_images_that_cannot_be_opened_are_told(cli: Cli, inputs: Path):
    (inputs / "seen.jsonl").write_text('{"id": "a", "prompt": "?", "images": ["https://example.org/a.png"]}\n')
    assert cli("report", "seen.jsonl").err == "wrote seen.html: 1 of 1 prompts; 1 image, 1 cannot be opened\n"
    assert "allow it with --allow-remote-images" in (inputs / "seen.html").read_text()


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(("arguments", "stdin", "code", "message"), [
    ("-", "", 2, "records on standard input have no name for the page; give one with -o"),
    ("- -o page.html", "", 3, "standard input: empty; expected records as prepare"),
    ("nowhere.jsonl", "", 3, "nowhere.jsonl: No such file or directory"),
    ("broken.jsonl", "", 3, "broken.jsonl:"),
    ("gsm8k.jsonl", "", 3, "gsm8k.jsonl:1: prompt: missing, so this is no record; a report is on what"),
    (".", "", 3, ".: is no run, there is no recipe.toml in it; name the directory of a loop, or a file of records"),
    ("scored.jsonl -o no/page.html", "", 2, "no/page.html: there is no folder no"),
    ("scored.jsonl -o .", "", 2, ".: is a directory; name a file"),
    ("scored.jsonl -o scored.jsonl", "", 2, "scored.jsonl: is the file that the page is on; choose another -o"),
    ("scored.jsonl --limit 0", "", 2, "--limit: 0 is out of bounds; expected at least 1"),
])
def test_what_goes_wrong_is_one_line(arguments: str, stdin: str, code: int, message: str, cli: Cli):
    Path("recipe.toml").unlink()
    result = cli("report", *arguments.split(), stdin=stdin)
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(f"sparkcli: {message}") and result.err.count("\n") == 1
    assert not list(Path().glob("**/*.html")) and not list(Path().glob(".*.partial"))


@pytest.mark.usefixtures("inputs")
def test_a_named_pipe_is_written_directly(cli: Cli):
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()))
    reader.start()
    assert cli("report", "scored.jsonl", "-o", "pipe").code == 0
    reader.join()
    assert read[0].endswith(b"</html>") and Path("pipe").is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.usefixtures("inputs")
def test_a_full_disk(cli: Cli):
    result = cli("report", "scored.jsonl", "-o", "/dev/full")
    assert (result.code, result.err) == (1, "sparkcli: /dev/full: cannot be written: No space left on device; name "
                                            "another place with -o\n")
