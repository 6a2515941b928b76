"""The reference of settings is what the code says. `UPDATE_GOLDEN=1 pytest tests/test_reference.py` writes it anew."""

import dataclasses
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from sparkcli.config import SECTIONS, field_choices, field_type, flag_names

HEAD = """# Recipes

A recipe is a TOML file; each section holds the settings of a stage. `sparkcli loop RECIPE` reads them all, a stage its
own with `--recipe RECIPE`. The flag of the stage, then `SPARKCLI_<SECTION>_<KEY>`, come before the recipe.

| recipe | |
|---|---|
| `quickstart.toml` | the built-in model: three minutes on two cores, offline |
| `quickstart-vision.toml` | the built-in vision model: one to two minutes on two cores, offline |
| `spark.sh` | the same method as a pipeline |
| `spark-7b.toml` | text, 7 billion parameters; its settings were not published, those of the next one stand in |
| `spark-vl-7b.toml`, `spark-vl-32b.toml` | the published settings |
| `scale-out.md`, `node-8gpu.toml` | sampling on many GPUs and nodes with vLLM and Ray; the loop on one node of eight |
| `multi-node.md`, `accelerate-ddp.yaml`, `accelerate-fsdp2.yaml` | several processes, several machines |

<!-- What follows is written from src/sparkcli/config.py by tests/test_reference.py. -->
"""


def kind_of(cls: Any, name: str) -> str:
    """The type of a setting in words."""
    choices = field_choices(cls, name)
    kind, _ = field_type(cls, name)
    words = {int: "integer", float: "number", bool: "true or false", str: "string", tuple: "list of strings",
             dict: "table"}
    return ", ".join(f'`"{choice}"`' for choice in choices) or words[kind]


def default_of(field: "dataclasses.Field[Any]") -> str:
    """The default as TOML; empty where a setting is unset."""
    if field.default is None or field.default == ():
        return ""
    if isinstance(field.default, str):
        return f"`'{field.default}'`" if "\\" in field.default else f'`"{field.default}"`'
    if isinstance(field.default, tuple):
        return f"`{json.dumps(field.default)}`"
    return f"`{str(field.default).lower()}`"


def flag_of(section: str, field: "dataclasses.Field[Any]") -> str:
    """The flag of the stage's command; what only the loop reads has few of its own."""
    if section in ("loop", "eval") and field.name not in ("out", "steps"):
        return f"--set {section}.{field.name}="
    return flag_names(field)[-1]


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for section, cls in SECTIONS.items():
        summary = (cls.__doc__ or "").splitlines()[0]
        rows = [f"| `{f.name}` | {default_of(f)} | {kind_of(cls, f.name)} | {f.metadata['help']} | "
                f"`{flag_of(section, f)}` |" for f in dataclasses.fields(cls)]
        parts.append("\n".join([f"\n## [{section}]\n", f"{summary}\n", "| key | default | type | | flag |",
                                "|---|---|---|---|---|", *rows, ""]))
    return "".join(parts)


def test_the_reference_of_settings_is_up_to_date(repository: Path) -> None:
    page = repository / "recipes" / "README.md"
    if os.environ.get("UPDATE_GOLDEN"):
        page.write_text(reference())
    assert page.read_text() == reference()


def test_defaults_and_blocks_of_toml_are_toml(repository: Path) -> None:
    """What people copy out of a page can be read."""
    rows = [default_of(field)[1:-1] for cls in SECTIONS.values() for field in dataclasses.fields(cls)]
    assert all(tomllib.loads(f"value = {row}") for row in rows if row)
    pages = [repository / "README.md", *(repository / "recipes").glob("*.md"), *(repository / "docs").glob("**/*.md")]
    blocks = [block for page in pages for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.M | re.S)]
    assert all(tomllib.loads(block) for block in blocks)
