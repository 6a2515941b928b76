"""From the name of a model to the folder that holds it. Torch-free."""

import difflib
import logging
import re
from dataclasses import replace
from pathlib import Path

from sparkcli.builtin import CHECKPOINTS, PREFIX, checkpoint
from sparkcli.config import ModelConfig
from sparkcli.errors import UsageError
from sparkcli.models.fingerprint import is_plain_adapter, read_json, recorded_base

log = logging.getLogger(__name__)

HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py"]
"""What is downloaded of a hub model: weights that need no unpickling, settings, tokenizer, code (run only if asked)."""


def on_base(config: ModelConfig) -> ModelConfig:
    """The settings with `name` as a model and `policy` as what lies on it, where `name` is a folder that PEFT wrote: an
    adapter, which is a policy on the base that it names. A `policy` that is given stays.

    The base's tokenizer and chat template are used; a warning names those of the folder where they are others.

    Raises:
        UsageError: the folder does not say what its base is.
    """
    folder = Path(config.name).expanduser()
    if not config.name or (folder / "config.json").is_file() or not is_plain_adapter(folder):
        return config
    base = recorded_base(folder)["name"]
    if (template := _chat_template(folder)) not in (None, _chat_template(Path(base).expanduser())):
        log.warning("%s: has a chat template of its own (%d characters), and the base's is used; to use this one, run "
                    "`sparkcli export %s -o DIR` and give DIR with -m", folder, len(template or ""), folder)
    return replace(config, name=base, policy=config.policy or str(folder))


def _chat_template(folder: Path) -> str | None:
    """What stands in a model folder as the template of its tokenizer; None where that is not known here."""
    if (path := folder / "chat_template.jinja").is_file():
        return path.read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    template = read_json(settings).get("chat_template") if settings.is_file() else None
    return template if isinstance(template, str) else None


def check_named(model: str) -> None:
    """Raises UsageError where no model was named: none is taken by default."""
    if not model:
        raise UsageError("which model? name one with -m, e.g. -m Qwen/Qwen2.5-1.5B-Instruct, or -m builtin:tiny-math "
                         "to try things out (or in SPARKCLI_MODEL_NAME, or in a recipe's [model] as name)")


def model_folder(name: str) -> Path:
    """The local folder of a model: `builtin:NAME`, a folder, or a hub id (downloaded once, then cached).

    Raises:
        UsageError: none is named, there is no such model, or it cannot be fetched; says what to try.
    """
    check_named(name)
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
        folder = Path(snapshot_download(name, allow_patterns=HUB_FILES))
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
    if is_plain_adapter(folder):
        raise UsageError(f"model {name!r}: is an adapter on {recorded_base(folder)['name']!r}; give that with -m, and "
                         f"--policy {folder}")
    return folder


def _hint(path: Path) -> str:
    policy = (path / "trainer_state.json").is_file()
    return "; this is a policy: give it as --policy" if policy else ""


def _similar(path: Path) -> str:
    """`; did you mean …?` for a folder beside `path` with almost its name, or a built-in model."""
    beside = [p for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    known = {p.name: str(p) for p in beside} | {name: f"{PREFIX}{name}" for name in CHECKPOINTS}
    close = difflib.get_close_matches(path.name, known, n=1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""
