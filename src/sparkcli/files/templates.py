"""The wordings on disk: a folder with one TOML file per kind of prompt, built in or the user's own.

Only the file level is checked here (it exists, it is TOML, it holds tables `[[template]]`); what a template
must say is checked by `method.templates`.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from sparkcli.errors import UsageError

KINDS = ("pointwise", "pairwise", "reflection")

Tables = Mapping[str, list[dict[str, Any]]]


def read_templates(folder: str | Path | None = None) -> Tables:
    """The tables of `pointwise.toml`, `pairwise.toml` and `reflection.toml` by kind; None: the built-in ones.

    Raises:
        UsageError: a file is missing or unreadable, not TOML, or holds anything but `[[template]]` tables.
    """
    built_in = resources.files("sparkcli") / "method" / "templates"
    place = built_in if folder is None else Path(folder)
    return {kind: _tables(place / f"{kind}.toml") for kind in KINDS}


def _tables(path: Traversable) -> list[dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}; a templates folder holds "
                         f"{', '.join(f'{kind}.toml' for kind in KINDS)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    unknown = sorted(set(content) - {"template"})
    if unknown:
        raise UsageError(f"{path}: {unknown[0]}: unknown key; expected only [[template]] tables")
    tables = content.get("template", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{path}: template: expected [[template]] tables (two brackets), found others")
    if not tables:
        raise UsageError(f"{path}: no [[template]] in it; expected at least one")
    return tables
