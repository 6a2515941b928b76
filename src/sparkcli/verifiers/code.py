"""Python that must pass tests, run in a sandbox.

The record's `answer` holds the tests; `code_gold` says in which shapes. The answer is the last fenced block that is
Python; of several the last that defines what the tests use, where they name it, else the last that reads the input, so
that an example of its use after it is none. Blocks of imports before it belong to it, and definitions that it uses. A
block that is not closed, as where a sampler stopped at the fence, counts. Without a fence, a completion that begins
like Python, or like the body of a function where there is a `setup`, is taken whole.

What the answer does is a statement about it: a test that fails, an exception, something the sandbox refuses, too much
processor time or memory are all `wrong`, and the reason says which. Time on the clock is not, since it depends on
what else the machine does: beyond the limit of `verify`, which is for all tests of a completion together, the status
is `timeout`. Keep `seconds` well below that limit. There is only Python's own library (no numpy), no file can be
written, and no process or socket be had, asyncio's included. `sandbox.confinement` says what holds an answer and what
does not, `sandbox.inside` what tests can be fooled by.
"""

import atexit
import functools
import re
from collections.abc import Sequence
from dataclasses import replace

from sparkcli.method.answers import Reading
from sparkcli.verifiers.base import Finding, Options, Verifier
from sparkcli.verifiers.code_gold import (
    METHOD_OF,
    Case,
    GoldError,
    UnnamedFunctionError,
    called_functions,
    cases,
    functions_of,
)
from sparkcli.verifiers.sandbox.host import Job, Sandbox

_FENCE = re.compile(r"^([ \t]*+)(`{3,}+|~{3,}+)[ \t]*+([^\s`]*+)[^\n`]*+$", re.MULTILINE)
_FENCE_IN_LINE = re.compile(r"(?<=[^\s`])[ \t]*(`{3}(?:python3?|py)?[ \t]*$)|(?<=\n)[ \t]*(`{3})(?=</\w+>)",
                            re.MULTILINE | re.IGNORECASE)
_PYTHON = re.compile(r"[{.]*(?:python|py|py3|python3[.\d]*|pypy3?|ipython)\}?")
_READS_INPUT = re.compile(r"\binput\(|\bstdin\b|\bopen\(0\b|\bfileinput\b")
_IMPORTS = re.compile(r"(?:(?:import|from)[ \t][^\n]*+\n|[ \t]*+\n)++")
_DEFINITIONS = re.compile(
    r"(?:(?:(?:async )?def |class |import |from |@|#|[ \t)\]}]|\w++[ \t]*+=(?!=))[^\n]*+\n|\n)++")
"""Top lines of nothing but functions, classes, imports and constants."""
_DEFINED = re.compile(r"^(?:(?:async )?def|class) (\w+)", re.MULTILINE)
_NAME = re.compile(r"[^\W\d]\w*")
_STATEMENT = re.compile(r"(?:def|class|async|import|from|for|while|if|try|with)\b|@\w|#!|print ?\(|\w[\w, ]*+=(?!=)"
                        r"|'{3}|\"{3}")
"""Generous: what begins so and is no Python fails to compile, and prose so taken is worth as little as no answer."""
_LONGEST_REASON = 200


def read(gold: str, completion: str, options: Options) -> Reading | None:
    """The program; see the module."""
    blocks = _blocks(completion)
    labelled = [code for label, code in blocks if _PYTHON.fullmatch(label)]
    programs = labelled or [code for label, code in blocks if not label]
    if len(programs) > 1:
        function = options["entry_point"].removeprefix(METHOD_OF)
        names = (function,) if function else functions_of(gold)
        return Reading(_chosen(programs, names), "the last block of Python")
    if programs:
        return Reading(programs[0], "the last block of Python")
    first = next((line for line in completion.splitlines() if line.strip() and not line.startswith("# ")), "")
    is_body = bool(options["setup"]) and first.startswith((" ", "\t"))
    if not blocks and (is_body or _STATEMENT.match(first)):
        return Reading(completion, "the whole completion, which is Python")
    return None


def _chosen(programs: Sequence[str], names: Sequence[str]) -> str:
    """Of several programs the one that is meant, with what was imported before it."""
    defines = re.compile(rf"^[ \t]*+(?:(?:async )?def|class) (?:{'|'.join(map(re.escape, names))}|Solution)\b"
                         if names else r"^(?:(?:async )?def|class) ", re.MULTILINE)
    if names:
        fitting = [code for code in programs if defines.search(code)]
    else:
        fitting = [code for code in programs if _READS_INPUT.search(code)]
        fitting = fitting or [code for code in programs if defines.search(code)]
    chosen = (fitting or programs)[-1]
    before = programs[:programs.index(chosen)]
    return "".join(f"{code.rstrip()}\n" for code in [*_needed(before, chosen), chosen])


def _needed(before: Sequence[str], chosen: str) -> list[str]:
    """Of the blocks before a program those of imports, and those that define what the ones after them use."""
    needed: list[str] = []
    used = set(_NAME.findall(chosen)).difference(_DEFINED.findall(chosen))
    for code in reversed(before):
        defined = _DEFINED.findall(code)
        if _IMPORTS.fullmatch(code) or (not used.isdisjoint(defined) and _DEFINITIONS.fullmatch(code)):
            needed.append(code)
            used.update(_NAME.findall(code))
            used.difference_update(defined)
    return needed[::-1]


def _blocks(text: str) -> list[tuple[str, str]]:
    """Label and content of the fenced blocks; a fence is closed by one as long, without a label, or the end."""
    blocks = []
    opening: re.Match[str] | None = None
    text = _FENCE_IN_LINE.sub(lambda fence: f"\n{fence[1]}" if fence[1] else f"{fence[2]}\n", text)
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence[2].startswith(opening[2]) and not fence[3]:
            blocks.append(_block(opening, text[opening.end() + 1:fence.start()]))
            opening = None
    if opening:
        blocks.append(_block(opening, text[opening.end() + 1:]))
    return [(label, code) for label, code in blocks if code.strip()]


def _block(opening: re.Match[str], content: str) -> tuple[str, str]:
    """Without the indentation that the fence has, as in a list."""
    indent = opening[1]
    lines = (line.removeprefix(indent) for line in content.splitlines(keepends=True)) if indent else [content]
    return opening[3].lower(), "".join(lines)


def check(gold: str, answer: str, options: Options) -> Finding:
    """Runs the tests, in order, up to the first that fails; with `partial` all, unless one uses up its time."""
    try:
        tests = _tests(gold, answer, options["entry_point"])
    except GoldError as error:
        return Finding("gold_unparseable", str(error)[:_LONGEST_REASON])
    if not tests:
        return Finding("wrong", "the program defines no function that the tests could call")
    try:
        return _finding(tests, answer, options)
    except BaseException:
        _stop()  # whatever interrupted the check: no job may run on
        raise


def _tests(gold: str, answer: str, entry_point: str) -> tuple[Case, ...]:
    """The tests; none where they are of a function that nothing names and the answer defines none.

    Raises:
        GoldError: as `cases`; or the answer defines several functions that may be meant.
    """
    try:
        return cases(gold, entry_point)
    except UnnamedFunctionError:
        functions = called_functions(answer)
        if len(functions) > 1:
            raise
        tests = cases(gold, functions[0] if functions else "missing")
        return tests if functions else ()


def _finding(tests: tuple[Case, ...], answer: str, options: Options) -> Finding:
    sandbox, passed, first = _sandbox(), 0, ""
    for number, test in enumerate(tests, start=1):
        outcome = sandbox.run(_job(test, answer, options))
        if outcome.is_of_setup:
            return Finding("gold_unparseable", f"the setup fails: {outcome.fault}"[:_LONGEST_REASON])
        fault = outcome.fault or test.fault(outcome)
        passed += not fault
        first = first or (fault and f"test {number} of {len(tests)}: {fault}")
        if outcome.is_spent or (fault and not options["partial"]):
            break
    if not first:
        return Finding("correct", f"passed {passed} of {len(tests)} tests")
    if not options["partial"]:
        return Finding("wrong", first[:_LONGEST_REASON])
    reason = f"passed {passed} of {len(tests)} tests; {first}"
    return Finding("wrong", reason[:_LONGEST_REASON], passed / len(tests))


def _job(test: Case, answer: str, options: Options) -> Job:
    return replace(test.job, setup=options["setup"], code=answer, seconds=options["seconds"], memory=options["memory"])


@functools.cache
def _started() -> Sandbox:
    sandbox = Sandbox()
    atexit.register(_stop)
    return sandbox


def _sandbox() -> Sandbox:
    """The one of this process, which is kept for all checks: it takes 30 ms to start and a job 4."""
    if not _started().is_running:
        _stop()
    return _started()


def _stop() -> None:
    if _started.cache_info().currsize:
        _started().close()
        _started.cache_clear()


def _validate(options: Options) -> None:
    function = options["entry_point"].removeprefix(METHOD_OF)
    if options["entry_point"] and not function.isidentifier():
        raise ValueError(f"entry_point: expected the name of a function, found {options['entry_point']!r}")
    if options["seconds"] < 1:
        raise ValueError(f"seconds: expected at least 1, found {options['seconds']}")
    if options["memory"] < 64:
        raise ValueError(f"memory: expected at least 64 (MiB), found {options['memory']}")


VERIFIER = Verifier(
    name="code", read=read, check=check, isolated=True, validate=_validate, warm=_sandbox,
    options={"entry_point": "", "setup": "", "partial": False, "seconds": 2, "memory": 512})
