"""The tests that `code` finds in a gold answer, in the shapes that data sets have.

- `{"inputs": [...], "outputs": [...]}`, as in APPS and TACO: texts for standard input and output (or lists of lines);
  with `"fn_name"`, lists of arguments and returned values. `[{"input": ..., "output": ...}, ...]`, as in
  LiveCodeBench: the same; with the option `entry_point`, or `"testtype": "functional"`, a JSON value a line for the
  arguments, and JSON for what is returned. Where nothing names the function, it is the one that the answer is about.
- a JSON list of statements, as MBPP's `test_list`: each is a test.
- Python source: as it stands one test, whose asserts must hold; with functions `test_…()` each of these is one; with
  HumanEval's `check(candidate)`, that is called with the function `entry_point`, or the one that the answer is about.

Python tests see the names of the answer, which can also be imported from `solution`.
"""

import ast
import builtins
import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sparkcli.verifiers.sandbox.host import OUTPUT, Job, Outcome

_TOLERANCE = 1e-6
"""Relative, or absolute below 1, of numbers with a fractional part."""
_LONGEST_NUMBER = 400
_LONGEST_INTEGER = 4300
_OWN_MODULES = {"solution", "answer"}
METHOD_OF = "Solution()."
"""Before the name of a method, where an entry point is one."""


class GoldError(ValueError):
    """The gold answer holds no tests that can be run."""


class UnnamedFunctionError(GoldError):
    """The tests are of a function that neither they nor the options name."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test: what to run, but for the program and its limits, and what is wrong with what it said ("": nothing)."""

    job: Job
    fault: Callable[[Outcome], str] = lambda outcome: ""


@functools.lru_cache(maxsize=4)
def cases(gold: str, entry_point: str) -> tuple[Case, ...]:
    """The tests, at least one.

    Raises:
        GoldError: there are none, or they cannot be read.
    """
    try:
        value = json.loads(gold, parse_int=_integer)
    except (ValueError, RecursionError):
        value = None
    found = list(_from_json(value, entry_point) if isinstance(value, list | dict) else _from_source(gold, entry_point))
    if not found:
        raise GoldError("the gold answer holds no test")
    return tuple(found)


def _from_json(value: list[Any] | dict[str, Any], entry_point: str) -> Iterator[Case]:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        for statement in value:
            yield from _from_source(statement, "")
        return
    calls = bool(entry_point)
    if isinstance(value, dict):
        inputs, outputs = value.get("inputs"), value.get("outputs")
        named = _named(value)
        calls |= bool(named) or _is_functional(value)
    elif all(isinstance(entry, dict) and {"input", "output"} <= entry.keys() for entry in value):
        inputs, outputs = [entry["input"] for entry in value], [entry["output"] for entry in value]
        named = next(filter(None, map(_named, value)), "")
        calls |= bool(named) or any(map(_is_functional, value))
    else:
        inputs = outputs = None
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise GoldError("the gold answer is JSON, but neither as many inputs as outputs, nor a list of statements")
    if calls and not (named or entry_point):
        raise UnnamedFunctionError("the tests call a function that nothing names: give it as entry_point")
    for given, expected in zip(inputs, outputs, strict=True):
        yield _call(named or entry_point, given, expected) if calls else _program(_text(given), _text(expected))


def _named(tests: dict[str, Any]) -> str:
    """The function that tests name."""
    metadata = tests.get("metadata")
    places = (tests, metadata if isinstance(metadata, dict) else {})
    return next((str(place[key]) for place in places for key in ("fn_name", "func_name") if place.get(key)), "")


def _is_functional(tests: dict[str, Any]) -> bool:
    return str(tests.get("testtype") or tests.get("type")) in ("functional", "function_call")


@functools.lru_cache(maxsize=64)
def functions_of(gold: str) -> tuple[str, ...]:
    """The functions and classes of an answer that its tests use, as far as the gold answer names them."""
    try:
        value = json.loads(gold)
    except (ValueError, RecursionError):
        value = gold
    if isinstance(value, dict):
        return tuple(filter(None, [_named(value)]))
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return tuple(sorted({name for name in map(_named, value) if name}))
    sources = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, str)]
    try:
        trees = [ast.parse(source) for source in sources]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    own = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return tuple(sorted(used - own - vars(builtins).keys()))


def called_functions(code: str) -> list[str]:
    """The functions that a program may be about: public methods of its class Solution, as `Solution().name`, or public
    functions, that no other of them uses."""
    body = _statements(code)
    solution = next((node for node in body if isinstance(node, ast.ClassDef) and node.name == "Solution"), None)
    functions = [node for node in (solution.body if solution else body) if isinstance(node, ast.FunctionDef)]
    used = set()
    for function in functions:
        names = {node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(function)
                 if isinstance(node, ast.Name | ast.Attribute)}
        used |= names - {function.name}
    return [f"{METHOD_OF * bool(solution)}{function.name}" for function in functions
            if not function.name.startswith("_") and function.name not in used]


def _statements(code: str) -> list[ast.stmt]:
    """Those of a program; none if it is no Python."""
    try:
        return ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _text(value: Any) -> str:
    """Standard input or output: a text, or a list of lines."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _program(given: str, expected: str) -> Case:
    job = Job(kind="program", stdin=given.encode(errors="replace"), most=max(OUTPUT, 2 * len(expected)))
    return Case(job, lambda outcome: text_fault(expected, outcome.said.decode(errors="replace")))


def _call(function: str, given: Any, expected: Any) -> Case:
    function = function.removeprefix(METHOD_OF)
    try:
        arguments = given
        if isinstance(given, str):
            arguments = [json.loads(line) for line in given.splitlines() if line.strip()]
            expected = json.loads(expected, parse_int=_integer) if isinstance(expected, str) else expected
    except ValueError:
        raise GoldError(f"arguments or value of {function} are not JSON: {str(given)[:60]!r}") from None
    if not isinstance(arguments, list):
        raise GoldError(f"arguments of {function}: expected a list, found {str(given)[:60]!r}")

    job = Job(kind="call", function=function, arguments=arguments, most=max(OUTPUT, 2 * len(str(expected))))
    return Case(job, lambda outcome: _value_fault(expected, outcome.said))


def text_fault(expected: str, found: str) -> str:
    """What differs first between two outputs, "" for nothing. Spaces and empty lines at the ends do not count.

    >>> text_fault("1 2\\n0.5", "1  2\\n0.50000001\\n"), text_fault("1\\n2", "1\\n3"), text_fault("1\\n2", "1")
    ('', "line 2: expected '2', found '3'", 'expected 2 lines, found 1')
    """
    expected_lines, found_lines = expected.strip().splitlines(), found.strip().splitlines()
    for number, (line, other) in enumerate(zip(expected_lines, found_lines, strict=False), start=1):
        words, others = line.split(), other.split()
        if words != others and (len(words) != len(others) or not all(map(_same_word, words, others))):
            where = f"line {number}: " if len(expected_lines) > 1 else ""
            return f"{where}expected {_short(line)}, found {_short(other)}"
    if len(expected_lines) != len(found_lines):
        return f"expected {len(expected_lines)} lines, found {len(found_lines)}"
    return ""


def _same_word(expected: str, found: str) -> bool:
    """Equal, or equal numbers: within the tolerance where the expected one has a fractional part."""
    if expected == found or len(expected) + len(found) > _LONGEST_NUMBER:
        return expected == found
    try:
        if Decimal(expected) == Decimal(found):
            return True
        return not expected.lstrip("+-").isdigit() and _is_close(float(expected), float(found))
    except (InvalidOperation, ValueError):
        return False


def _is_close(expected: float, found: float) -> bool:
    return math.isclose(expected, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _value_fault(expected: Any, said: bytes) -> str:
    """As `text_fault`, for what a function returned. APPS wraps some of the expected values in a list."""
    try:
        found = json.loads(said, parse_int=_integer)
        is_wrapped = isinstance(expected, list) and len(expected) == 1
        if _same_value(expected, found) or (is_wrapped and _same_value(expected[0], found)):
            return ""
        return f"expected {_short(expected)}, found {_short(found)}"
    except (ValueError, RecursionError):
        return "the returned value cannot be read"


def _integer(digits: str) -> int | tuple[str, str]:
    """An integer; one of more digits than Python will read stays as it is written."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else ("integer", digits)


def _same_value(expected: Any, found: Any) -> bool:
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_same_value, expected, found))
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_same_value(expected[key], found[key]) for key in expected)
    if isinstance(expected, float) and isinstance(found, int | float):
        return expected == found or _is_close(expected, found)
    return bool(expected == found)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _from_source(source: str, entry_point: str) -> Iterator[Case]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GoldError(f"the gold answer is neither JSON nor Python: {error}") from None
    _refuse_unknown_modules(tree)
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    calls = [f"{name}()" for name in functions if name.startswith("test_")]
    if "check" in functions and not calls and not _is_called(tree, "check"):
        if not entry_point:
            raise UnnamedFunctionError("the tests define check(candidate): give its candidate as entry_point")
        calls = [f"check({entry_point})"]
    if not any(isinstance(node, ast.Assert) for part in tree.body if not isinstance(part, ast.ClassDef)
               for node in ast.walk(part)):
        raise GoldError("the gold answer is Python without an assert (classes of tests are not run)")
    tree = _Comparisons().visit(tree)
    for call in calls or [""]:
        body = [*tree.body, *ast.parse(call).body]
        module = ast.fix_missing_locations(ast.Module(body=body, type_ignores=[]))
        yield Case(Job(kind="tests", tests=compile(module, "<tests>", "exec", dont_inherit=True)))


def _refuse_unknown_modules(tree: ast.Module) -> None:
    """Tests that need an installed package would fail for every answer."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        for name in (name.partition(".")[0] for name in names):
            if name not in sys.stdlib_module_names | _OWN_MODULES:
                raise GoldError(f"the tests import {name!r}; there is only Python's own library")


def _is_called(tree: ast.Module, name: str) -> bool:
    return any(isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
               for node in ast.walk(tree))


class _Comparisons(ast.NodeTransformer):
    """`left == right` becomes `__same__(left, right, "left")`: it knows what differed, and no answer overloads it."""

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        """Of two sides; a chain stays as it is."""
        text = ast.unparse(node.left)
        self.generic_visit(node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], ast.Eq):
            return node
        arguments = [node.left, node.comparators[0], ast.Constant(text[:60])]
        call = ast.Call(func=ast.Name("__same__", ast.Load()), args=arguments, keywords=[])
        return ast.copy_location(call, node)
