"""Recipes: TOML files whose sections are the stages' settings."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from sparkcli.errors import UsageError


def read_recipe(path: str) -> dict[str, Any]:
    """The sections of a recipe; their keys are checked by `config.resolve`.

    Raises:
        UsageError: no such file, or not TOML.
    """
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None


def write_recipe(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML text of resolved settings; unset values are left out.

    Raises:
        UsageError: a list holds a null, which TOML does not have.
    """
    return "\n".join(f"[{name}]\n{_keys(values)}" for name, values in sections.items())


def _keys(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_literal(value)}\n" for key, value in values.items() if value is not None)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(str(key))} = {_literal(v)}' for key, v in value.items() if v is not None)}}}"
    if isinstance(value, str):  # TOML's strings have JSON's escapes, and want one more
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if value is None:
        raise UsageError("a recipe cannot hold null in a list; leave it out")
    return repr(value)
