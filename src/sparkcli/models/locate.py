"""From the name of a model to the folder that holds it. Torch-free."""

import difflib
import re
from pathlib import Path

from sparkcli.builtin import CHECKPOINTS, PREFIX, checkpoint
from sparkcli.errors import UsageError

HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py"]
"""What is downloaded of a hub model: weights that need no unpickling, settings, tokenizer, code (run only if asked)."""


def model_folder(name: str) -> Path:
    """The local folder of a model: `builtin:NAME`, a folder, or a hub id (downloaded once, then cached).

    Raises:
        UsageError: there is no such model, or it cannot be fetched; says what to try.
    """
    if name.startswith(PREFIX):
        return checkpoint(name)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UsageError(f"model {name!r}: no config.json in this folder; "
                             f"give a Hugging Face model folder{_hint(path)}")
        return path
    if path.exists():
        raise UsageError(f"model {name!r}: is a file; give the folder that holds config.json and the weights")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise UsageError(f"model {name!r}: no such folder{_similar(path)}")
    return _hub_folder(name)


def _hub_folder(name: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except GatedRepoError:
        raise UsageError(f"model {name!r}: needs permission; accept its licence on huggingface.co and run "
                         "`hf auth login`") from None
    except RepositoryNotFoundError:
        raise UsageError(f"model {name!r}: neither a folder here nor a model on the hub{_similar(Path(name))}; "
                         "check the spelling, or run `hf auth login` for a private one") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        network = f"{type(error).__name__}: {error}".splitlines()[0]
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else network
        raise UsageError(f"model {name!r}: not a folder here, not in the hub cache, and the hub cannot be reached "
                         f"({reason[:120]}); try builtin:tiny-math or a local folder{_similar(Path(name))}") from None


def _hint(path: Path) -> str:
    policy = (path / "trainer_state.json").is_file() or (path / "adapter_config.json").is_file()
    return "; this is a policy: give it as --policy" if policy else ""


def _similar(path: Path) -> str:
    """`; did you mean …?` for a folder beside `path` with almost its name, or a built-in model."""
    beside = [p for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    known = {p.name: str(p) for p in beside} | {name: f"{PREFIX}{name}" for name in CHECKPOINTS}
    close = difflib.get_close_matches(path.name, known, n=1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""
