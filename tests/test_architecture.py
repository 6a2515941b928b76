"""The house's plan, held: which room may know which, what loads late, what is declared.

Imports only point down the floors; rooms on one floor do not know each other. Imports inside functions count
too: a late import is about start-up time, not about who may know whom.
"""

import ast
import importlib.metadata
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import sparkcli

ROOT = Path(sparkcli.__file__).parent
REPOSITORY = Path(__file__).parent.parent

FLOORS = (
    ("__main__",),
    ("commands",),
    ("run",),
    ("bench", "engines", "training", "verdicts"),
    ("verifiers", "models", "sources"),
    ("method",),
    ("files", "builtin"),
    ("config", "records"),
    ("fields",),
    ("errors", "json_values"),
)
FLOOR_OF = {room: -depth for depth, rooms in enumerate(FLOORS) for room in rooms}

HEAVY = {"PIL", "accelerate", "datasets", "huggingface_hub", "latex2sympy2_extended", "math_verify",
         "matplotlib", "numpy",
         "pandas", "peft", "pyarrow", "safetensors", "sympy", "tokenizers", "torch", "transformers", "vllm"}
"""Packages whose import a person at a prompt would notice."""

MAY_BE_HEAVY = ("models.", "training.", "engines.", "verifiers.math", "verifiers.instructions.", "builtin.")
"""Modules that are themselves imported late."""

MUST_BE_LIGHT = ("models", "models.locate", "models.fingerprint", "training", "engines", "engines.base",
                 "engines.scripted", "verdicts.referee", "sources.prepare", "builtin", "builtin.streams",
                 "builtin.tiny_math", "builtin.tiny_math.task", "builtin.tiny_vision", "builtin.tiny_vision.problem",
                 "builtin.tiny_vision.task", "builtin.tiny_vision.pictures")
"""Modules that commands without a model import before they work, or that a cheap call needs."""


@dataclass(frozen=True)
class Import:
    """One imported module, as written at `line` of `importer` (both without the leading `sparkcli.`)."""

    importer: str
    module: str
    line: int
    at_top: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


def module_name(path: Path) -> str:
    """`method/recycle.py` → `method.recycle`; a package's `__init__.py` → the package; the root's → ``."""
    return ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_in(module: str, path: Path) -> Iterator[Import]:
    yield from imports_below(ast.parse(path.read_text(encoding="utf-8")), module, at_top=True)


def imports_below(parent: ast.AST, module: str, *, at_top: bool) -> Iterator[Import]:
    """The imports under a node. Those for type checkers and those in functions do not run at import."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import):
            yield from (Import(module, alias.name, node.lineno, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute"
            source = node.module or ""
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                is_module = whole.removeprefix("sparkcli.") in MODULES
                yield Import(module, whole if is_module else source, node.lineno, at_top)
        else:
            late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
            yield from imports_below(node, module, at_top=at_top and not late)


IMPORTS = [entry for module, path in MODULES.items() for entry in imports_in(module, path)]
INNER = [entry for entry in IMPORTS if entry.module.startswith("sparkcli.")]


def room(module: str) -> str:
    return module.removeprefix("sparkcli.").split(".")[0]


def is_maker(module: str) -> bool:
    """How a built-in model was made: scripts that may use the whole house, and that nothing in it uses."""
    return module.startswith("builtin.") and module not in MUST_BE_LIGHT


def test_every_room_is_on_a_floor():
    assert {room(module) for module in MODULES} - {""} <= FLOOR_OF.keys()


def test_imports_only_point_down():
    wrong = [str(entry) for entry in INNER
             if entry.importer and not is_maker(entry.importer) and room(entry.importer) != room(entry.module)
             and FLOOR_OF[room(entry.module)] >= FLOOR_OF[room(entry.importer)]]
    assert wrong == []


def test_the_package_itself_imports_nothing():
    assert [str(entry) for entry in IMPORTS if entry.importer == ""] == []


def test_the_method_knows_no_file():
    """Its functions are handed what they need, so that they can be read, tested and sharded alone."""
    outside = {"os", "pathlib", "io", "time", "datetime", "subprocess", "socket"} | HEAVY
    of_method = [entry for entry in IMPORTS if room(entry.importer) == "method"]
    assert [str(entry) for entry in of_method if entry.module.split(".")[0] in outside] == []
    assert [str(entry) for entry in of_method
            if entry in INNER and room(entry.module) in ("files", "builtin")] == []


def test_nothing_uses_the_makers_of_builtin_models():
    assert [str(entry) for entry in INNER if is_maker(entry.module.removeprefix("sparkcli."))
            and room(entry.importer) != "builtin"] == []
    assert [str(entry) for entry in INNER if is_maker(entry.module.removeprefix("sparkcli."))
            and not is_maker(entry.importer)] == []


def test_heavy_packages_are_imported_late():
    wrong = [str(entry) for entry in IMPORTS if entry.at_top and entry.module.split(".")[0] in HEAVY
             and (entry.importer in MUST_BE_LIGHT or not entry.importer.startswith(MAY_BE_HEAVY))]
    assert wrong == []


def test_commands_reach_nothing_heavy_when_they_are_imported():
    """What runs at import, followed through the package's own modules."""
    at_top: dict[str, set[str]] = {module: set() for module in MODULES}
    for entry in IMPORTS:
        if entry.at_top:
            at_top[entry.importer].add(entry.module.removeprefix("sparkcli."))
    waiting = [module for module in MODULES if module in MUST_BE_LIGHT or room(module) == "commands"]
    came_from = {module: module for module in waiting}
    for module in waiting:
        for target in (at_top[module] & MODULES.keys()) - came_from.keys():
            came_from[target] = f"{came_from[module]} → {target}"
            waiting.append(target)
    heavy = {module for module, targets in at_top.items() if HEAVY & {name.split(".")[0] for name in targets}}
    assert [way for module, way in came_from.items() if module in heavy] == []


def test_the_modules_named_here_exist():
    assert set(MUST_BE_LIGHT) <= MODULES.keys()


def test_every_import_is_a_declared_dependency():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "test"}
    declared = {distribution(line) for line in [*project["dependencies"], *itertools.chain(*extras.values())]}
    providers = importlib.metadata.packages_distributions()
    foreign = {entry.module.split(".")[0] for entry in IMPORTS if not is_maker(entry.importer)}
    foreign -= sys.stdlib_module_names | {"sparkcli"}
    assert [name for name in foreign
            if not declared & set(map(distribution, providers.get(name, [name])))] == []


def distribution(requirement: str) -> str:
    """`math-verify[antlr4_13_2]>=0.9` → `math_verify`."""
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("-", "_")


def test_newest_changelog_heading_is_the_version():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(r"^## (\S+)", text, re.MULTILINE)
    assert heading is not None
    assert heading[1] == sparkcli.__version__


@pytest.mark.parametrize(("source", "expected"), [
    ("import torch", [("torch", True)]),
    ("def f():\n    import torch", [("torch", False)]),
    ("if TYPE_CHECKING:\n    from torch import Tensor", [("torch", False)]),
    ("try:\n    import numpy.linalg\nfinally:\n    pass", [("numpy.linalg", True)]),
    ("from sparkcli import records", [("sparkcli.records", True)]),
    ("from sparkcli.records import Prompt", [("sparkcli.records", True)]),
])
def test_how_imports_are_found(source: str, expected: list[tuple[str, bool]]):
    found = [(entry.module, entry.at_top) for entry in imports_below(ast.parse(source), "x", at_top=True)]
    assert found == expected
