"""What a model or policy *is*, as a short hash of its content; and whether a policy directory is whole. Torch-free.

The fingerprint of a policy stands in every rollout that it sampled, and in the `parent` of the policy trained from it.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from sparkcli.errors import UsageError

WHOLE_FILE_BYTES = 64 << 20
BLOCK_BYTES = 32 << 10
BLOCKS = 512

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
STATE_FILE = "trainer_state.json"
OPTIMIZER_FILE = "optimizer.safetensors"


def model_fingerprint(folder: Path) -> str:
    """Hash of `config.json` and all weights of a Hugging Face folder, 16 hex digits.

    Files above 64 MB are sampled: header, size and 512 evenly spaced blocks, so 15 GB take about a second. A change
    that touches only bytes between the blocks is not seen; an optimiser step changes (nearly) all of them.

    Raises:
        UsageError: there are no safetensors weights, or one of the files is cut short.
    """
    weights = weight_files(folder)
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in weights:
        digest.update(path.name.encode() + _content(path))
    return digest.hexdigest()[:16]


def policy_fingerprint(directory: Path, base_fingerprint: str = "") -> str:
    """Hash of what a policy directory samples: base and adapter, or its full weights. 16 hex digits.

    Args:
        base_fingerprint: of the model under an adapter that records none, as others save it.

    Raises:
        UsageError: a file is missing, broken or cut short.
    """
    if not is_adapter(directory):
        return model_fingerprint(directory)
    config = {k: v for k, v in read_json(directory / "adapter_config.json").items() if k != "base_model_name_or_path"}
    base = base_fingerprint if is_plain_adapter(directory) else recorded_base(directory)["fingerprint"]
    check_safetensors(directory / "adapter_model.safetensors")
    digest = hashlib.sha256(base.encode() + json.dumps(config, sort_keys=True).encode())
    digest.update(_content(directory / "adapter_model.safetensors"))
    return digest.hexdigest()[:16]


def is_adapter(directory: Path) -> bool:
    """Whether a policy directory holds an adapter (PEFT's layout) rather than full weights."""
    return (directory / "adapter_config.json").exists() or (directory / "adapter_model.safetensors").exists()


def is_plain_adapter(directory: Path) -> bool:
    """Whether a folder holds an adapter as PEFT saves it, by others: nothing says what exactly it was trained on."""
    is_ours = any((directory / name).exists() for name in (STATE_FILE, OPTIMIZER_FILE))
    return is_adapter(directory) and not is_ours


def recorded_base(directory: Path) -> dict[str, str]:
    """`name` of the model that a policy belongs to and, unless it is a plain adapter, its `fingerprint`.

    Raises:
        UsageError: the folder does not say.
    """
    if is_plain_adapter(directory):
        path, key = directory / "adapter_config.json", "base_model_name_or_path"
        name = read_json(path).get(key)
        if not isinstance(name, str) or not name:
            raise UsageError(f"{path}: {key}: names no model; give it with -m, and this folder as --policy")
        return {"name": name}
    state_path = directory / STATE_FILE
    if not state_path.is_file():
        raise UsageError(f"policy {directory}: {STATE_FILE} is missing; give a directory that train-step wrote, or an "
                         "adapter as PEFT saves it")
    base = read_json(state_path).get("base")
    if not isinstance(base, dict) or "fingerprint" not in base:
        raise UsageError(f"{state_path}: base: expected name and fingerprint of the model, missing")
    return base


def check_policy(directory: Path, base_fingerprint: str | None = None) -> None:
    """Returns when `directory` is a whole policy, one of the model with `base_fingerprint` where that is given. A plain
    adapter may be of any model: whether it fits shows where it is put on.

    Raises:
        UsageError: a file is missing, broken or cut short, or the policy belongs to another model.
    """
    if not directory.is_dir():
        raise UsageError(f"policy {directory}: no such directory; give one that train-step wrote")
    if is_plain_adapter(directory):
        _check_weights(directory)
        _check_kind(directory / "adapter_config.json")
        return
    base = recorded_base(directory)
    _check_weights(directory)
    if base_fingerprint is not None and base["fingerprint"] != base_fingerprint:
        raise UsageError(f"policy {directory}: was trained on model {base.get('name')!r} ({base['fingerprint']}), and "
                         f"the model given is another ({base_fingerprint}); give the one it was trained on with -m")


def _check_weights(directory: Path) -> None:
    if is_adapter(directory):
        if (directory / "adapter_model.bin").is_file() and not (directory / ADAPTER_FILES[1]).exists():
            raise UsageError(f"policy {directory}: adapter_model.bin is pickled, and only safetensors are read; save "
                             "it again with PEFT's save_pretrained")
        for name in ADAPTER_FILES:
            if not (directory / name).is_file():
                raise UsageError(f"policy {directory}: {name} is missing; train it again or use an earlier policy")
        read_json(directory / "adapter_config.json")
        check_safetensors(directory / "adapter_model.safetensors")
    else:
        weight_files(directory)
    if (directory / OPTIMIZER_FILE).exists():
        check_safetensors(directory / OPTIMIZER_FILE)


def _check_kind(path: Path) -> None:
    """Raises UsageError for an adapter of others that is more than low-rank terms on the weights of layers: the rest
    would be trained, switched off for the reference policy or served as if it were not there."""
    config = read_json(path)
    if (kind := config.get("peft_type")) != "LORA":
        raise UsageError(f"{path}: peft_type: expected LORA, found {kind!r}; merge it into its model with PEFT, and "
                         "give the result with -m")
    plain = {"modules_to_save": None, "trainable_token_indices": None, "bias": "none", "use_dora": False}
    for key, usual in plain.items():
        if (found := config.get(key)) not in (usual, None, []):
            raise UsageError(f"{path}: {key}: {found!r} is more than LoRA on layers; merge it into its model with PEFT "
                             "(merge_and_unload), and give the result with -m")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a full model, sorted by name, each checked to be whole.

    Raises:
        UsageError: config.json, the weights or a shard that the index names are missing, or a file is cut short.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder}: config.json is missing; expected a Hugging Face model folder")
    index = folder / "model.safetensors.index.json"
    shards = read_json(index).get("weight_map", {}).values() if index.is_file() else ["model.safetensors"]
    names = sorted(set(shards))
    for name in names:
        if not (folder / name).is_file():
            raise UsageError(f"{folder}: {name} is missing; only safetensors weights are read, never pickled ones")
        check_safetensors(folder / name)
    return [folder / name for name in names]


def check_safetensors(path: Path) -> None:
    """Raises UsageError when the file is not safetensors, or is shorter or longer than its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or header_bytes > size - 8:
            raise UsageError(f"{path}: cut short or not safetensors ({size} bytes); get the file again")
        try:
            header = json.loads(file.read(header_bytes))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise UsageError(f"{path}: the header is not safetensors'; get the file again") from None
    expected = 8 + header_bytes + max(ends, default=0)
    if size != expected:
        raise UsageError(f"{path}: {size} bytes, but its header describes {expected}; cut short? get the file again")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UsageError: the file cannot be read, or holds no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(f"{path}: broken JSON ({error}); the file may be cut short") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _content(path: Path) -> bytes:
    """Digest of a file's content, or of its size, its beginning and evenly spaced blocks where it is large."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_FILE_BYTES:
            return hashlib.file_digest(file, "sha256").digest()
        digest = hashlib.sha256(size.to_bytes(8, "little"))
        header_bytes = int.from_bytes(os.pread(file.fileno(), 8, 0), "little")
        digest.update(os.pread(file.fileno(), header_bytes, 8))
        for block in range(BLOCKS):
            digest.update(os.pread(file.fileno(), BLOCK_BYTES, (size - BLOCK_BYTES) * block // (BLOCKS - 1)))
    return digest.digest()
