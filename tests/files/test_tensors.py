"""Side files: arrays leave the records and come back the same."""

import dataclasses
from pathlib import Path

import pytest

from sparkcli.errors import InputError
from sparkcli.files import tensors
from sparkcli.files.tensors import SideFile, inline
from sparkcli.records import Rollout


def group(id: str) -> list[Rollout]:
    return [Rollout(id=id, prompt="?", sample=s, samples=3, completion="x", prompt_token_ids=(1, 2, 3),
                    token_ids=tuple(range(s + 1)), logprobs=tuple(-0.5 * i for i in range(s + 1))) for s in range(3)]


GROUPS = [group(f"p{i}") for i in range(10)]
FAILED = [Rollout(id="bad", prompt="?", sample=0, samples=1, completion="", finish_reason="error", error="too long")]


def test_without_a_side_file_groups_pass_at_once() -> None:
    side = SideFile(None)
    assert side.add(GROUPS[0]) == [GROUPS[0]]
    assert side.flush() == []


@pytest.mark.parametrize("shard_tokens", [7, 1000])
def test_arrays_are_moved_into_shards_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    shard_tokens: int) -> None:
    monkeypatch.setattr(tensors, "SHARD_TOKENS", shard_tokens)
    side = SideFile(str(tmp_path / "t.safetensors"))
    written = [ready for g in [*GROUPS, FAILED] for ready in side.add(g)] + side.flush()
    moved = [rollout for g in written for rollout in g]
    assert all(r.token_ids is None and r.prompt_token_ids is None and r.logprobs is None for r in moved)
    assert list(inline(moved)) == [rollout for g in [*GROUPS, FAILED] for rollout in g]


def test_arrays_that_are_not_all_there_stay_in_the_record(tmp_path: Path) -> None:
    """Servers give text alone, or ids without log-probs; a slice stands for three arrays."""
    side = SideFile(str(tmp_path / "t.safetensors"))
    text = [dataclasses.replace(r, prompt_token_ids=None, token_ids=None, logprobs=None) for r in group("text")]
    ids = [dataclasses.replace(r, logprobs=None) for r in group("ids")]
    mixed = [ids[0], *group("ids")[1:]]
    given = [text, mixed, GROUPS[0]]
    moved = [rollout for g in [ready for g in given for ready in side.add(g)] + side.flush() for rollout in g]
    assert [r.tensors is None for r in moved] == [True] * 4 + [False] * 5
    assert list(inline(moved)) == [rollout for g in given for rollout in g]


def test_a_group_is_held_back_until_its_shard_is_on_disk(tmp_path: Path) -> None:
    side = SideFile(str(tmp_path / "t.safetensors"))
    assert side.add(GROUPS[0]) == []
    side.flush()
    assert (tmp_path / "t.safetensors").exists()


def test_a_shard_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    first, second = SideFile(str(path)), SideFile(str(path))
    first.add(GROUPS[0])
    second.add(GROUPS[1])
    (kept,), (also,) = first.flush(), second.flush()
    assert list(inline([*kept, *also])) == [*GROUPS[0], *GROUPS[1]]


@pytest.mark.parametrize(("reference", "message"), [
    ("nonsense", "expected FILE.safetensors#A:B,C:D"),
    ("{}/none.safetensors#0:1,0:1", "No such file"),
    ("{}/cut.safetensors#0:1,0:1", "not a whole safetensors file"),
    ("{}/t.safetensors#0:3,0:999", "shorter than the slice"),
])
def test_a_reference_that_leads_nowhere_names_the_rollout(tmp_path: Path, reference: str, message: str) -> None:
    side = SideFile(str(tmp_path / "t.safetensors"))
    side.add(GROUPS[0])
    side.flush()
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "t.safetensors").read_bytes()[:-4])
    broken = dataclasses.replace(GROUPS[0][1], tensors=reference.format(tmp_path))
    with pytest.raises(InputError, match="rollout 'p0' sample 1: tensors") as raised:
        list(inline([broken]))
    assert message in str(raised.value)
