"""Streams and outputs: every suffix, every way to be cut."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sparkcli.errors import InputError, UsageError
from sparkcli.files.jsonl import Output, is_stream, read
from sparkcli.records import Prompt, Rollout

PROMPTS = [Prompt(id=f"p{i}", prompt=f"Question {i}?", answer=str(i), extra={"row": i}) for i in range(200)]
SUFFIXES = ["", ".gz", ".zst"]


def interrupted(prompts: list[Prompt]) -> Iterator[Prompt]:
    yield from prompts
    raise KeyboardInterrupt


def write(path: Path, prompts: Iterable[Prompt]) -> None:
    with Output(str(path)) as sink:
        for prompt in prompts:
            sink.write(prompt)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_and_the_same_bytes_come_twice(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a.jsonl{suffix}", tmp_path / f"b.jsonl{suffix}"
    write(first, PROMPTS)
    write(second, PROMPTS)
    assert list(read(str(first), Prompt)) == PROMPTS
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_output_is_not_there_and_can_be_continued(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted(PROMPTS[:50]))
    assert not path.exists()
    with Output(str(path), resume=True) as sink:
        rest = list(sink.skip_done(PROMPTS))
        assert rest == PROMPTS[50:]
        for prompt in rest:
            sink.write(prompt)
    assert list(read(str(path), Prompt)) == PROMPTS
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("cut", [1, 10, 100, 1000])
def test_a_partial_output_that_was_killed_mid_line_goes_on_at_the_last_whole_group(tmp_path: Path, cut: int) -> None:
    path, partial = tmp_path / "a.jsonl", tmp_path / ".a.jsonl.partial"
    rollouts = [Rollout(id=f"p{i}", prompt="?", sample=s, samples=4, completion="x" * i)
                for i in range(30) for s in range(4)]
    with Output(str(path)) as sink:
        for rollout in rollouts:
            sink.write(rollout)
    whole = path.read_bytes()
    path.unlink()
    partial.write_bytes(whole[:-cut])
    with Output(str(path), resume=True) as sink:
        assert len(sink.done) < 30
        for rollout in sink.skip_done(rollouts):
            sink.write(rollout)
    assert path.read_bytes() == whole


def test_a_finished_output_has_nothing_to_continue(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, PROMPTS)
    before = path.read_bytes()
    with Output(str(path), resume=True) as sink:
        assert not list(sink.skip_done(PROMPTS))
    assert path.read_bytes() == before


def test_another_input_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, PROMPTS[:3])
    expected = "entry 1 was made from prompt 'p0', the input has 'p9' there"
    with pytest.raises(InputError, match=expected), Output(str(path), resume=True) as sink:
        list(sink.skip_done(PROMPTS[9:]))
    assert list(read(str(path), Prompt)) == PROMPTS[:3]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_input_that_was_cut_is_an_error_not_a_short_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    write(path, PROMPTS)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="cannot be read further"):
        list(read(str(path), Prompt))


@pytest.mark.parametrize(("content", "message"), [
    (b'{"prompt": "a"}\n{"prompt": \n{"prompt": "c"}\n', "bad.jsonl:2: not JSON"),
    (b'{"prompt": "a"}\n\n["b"]\n', "bad.jsonl:3: expected a JSON object, found a list"),
    (b'{"prompt": "a\xff"}\n', "bad.jsonl:1: not JSON"),
    (b'{"prompt": "a\0"}\n', "bad.jsonl:1: not JSON: unexpected control character in string at column 14"),
    (b'{"prompt": "\\ud800", }\n', "bad.jsonl:1: not JSON"),
    (b'{"prompt": "\\ud800", "score": NaN}\n', "bad.jsonl:1: not JSON"),
    (b'{"prompt": "\\ud800\xff"}\n', "bad.jsonl:1: not JSON"),
    (b'{"prompt": "\\ud800", "nested": ' + b"[" * 100_000, "bad.jsonl:1: not JSON"),
    (b"", "bad.jsonl: empty; expected prompt records"),
    (b"\n\n", "bad.jsonl: empty; expected prompt records"),
])
def test_a_bad_line_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        list(read(str(path), Prompt))
    assert message in str(raised.value)


@pytest.mark.parametrize("line", [
    rb'{"id":"\ud800","prompt":"lone, of a pair: \udc00","answer":"2"}',
    rb'{"id":"a","prompt":"null byte: \u0000"}',
    rb'{"id":"a","prompt":"?","\ud83d":{"\udc00":["\ud83d"]},"huge":123456789012345678901234567890}',
])
def test_what_python_writes_is_read_and_written_unchanged(tmp_path: Path, line: bytes) -> None:
    path, copy = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(line + b"\n")
    write(copy, read(str(path), Prompt))
    assert copy.read_bytes() == path.read_bytes()


def test_an_output_with_lone_surrogates_can_be_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    prompts = [Prompt(id=f"p{i}", prompt="\ud800") for i in range(3)]
    write(path, prompts)
    with Output(str(path), resume=True) as sink:
        assert not list(sink.skip_done(prompts))


def test_inputs_and_outputs_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory; expected a file"):
        list(read(str(tmp_path), Prompt))
    with pytest.raises(InputError, match="No such file"):
        list(read(str(tmp_path / "none.jsonl"), Prompt))
    with pytest.raises(UsageError, match="is a directory; name a file"), Output(str(tmp_path)):
        pass
    with pytest.raises(UsageError, match="there is no folder"), Output(str(tmp_path / "no" / "a.jsonl")):
        pass


def test_images_relative_to_the_file_come_out_absolute(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    kept = ("https://example.org/b.png", "data:image/png;base64,AA==", "/abs/c.png")
    write(path, [Prompt(id="p", prompt="?", images=("images/a.png", *kept))])
    assert next(read(str(path), Prompt)).images == (str(tmp_path / "images/a.png"), *kept)


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    link = tmp_path / "out.jsonl"
    link.symlink_to(tmp_path / "large" / "real.jsonl")
    for answer in ("1", "2"):
        with Output(str(link)) as sink:
            sink.write(Prompt(id="a", prompt="?", answer=answer))
        assert link.is_symlink() and f'"answer":"{answer}"' in (tmp_path / "large" / "real.jsonl").read_text()
    assert sorted(path.name for path in (tmp_path / "large").iterdir()) == ["real.jsonl"]


def test_a_link_to_what_is_open_already_is_written_through(tmp_path: Path) -> None:
    """As `/dev/stdout` is, in a folder of the test's own."""
    with open(tmp_path / "file.jsonl", "wb") as file:
        link = tmp_path / "stdout"
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        assert is_stream(str(link))
        with Output(str(link)) as sink:
            sink.write(Prompt(id="a", prompt="?"))
        assert link.is_symlink()
    assert (tmp_path / "file.jsonl").read_text().startswith('{"id":"a"')
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.jsonl", "stdout"]
