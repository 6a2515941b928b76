"""What `host` runs in a fresh interpreter: the watcher, and what a job does once it is confined.

Messages are marshalled dicts, a job each, answered by (exit code, processor seconds, whether it said too much, what it
printed, what it reported). The end of the input ends the watcher, and the job under way.

A report is what a job writes on descriptor 3: `C` once it is confined, then `S` and an exception of the setup, or `R`
once the program runs, then `E` and an exception, `V` and a value as JSON, or `P` and a number drawn for this job, the
proof that tests ran to their end. What is printed or returned is compared outside. Tests that are Python run in the
job itself, with builtins of their own and an `==` that a value of another type cannot overload; leaving early passes
none. A program that goes through the frames of its interpreter to find the proof is not stopped.
"""

import _thread
import atexit
import builtins
import contextlib
import json
import marshal
import os
import random
import resource
import select
import sys
import tempfile
import threading
import typing
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from types import FunctionType, ModuleType
from typing import Any, BinaryIO, NoReturn

from sparkcli.verifiers.sandbox.confinement import Confinement

_REPORT = 3
_LARGEST_STACK = 64 << 20
_SETRLIMIT = resource.setrlimit
_SIGKILL = 9
_COMMON = ("bisect", "collections", "copy", "datetime", "decimal", "fractions", "functools", "heapq", "itertools",
           "math", "operator", "random", "re", "statistics", "string", "typing")
"""Imported once, before there are jobs: a job then has them at once."""
_MODULES_OF_JUDGES = ("bisect", "collections", "copy", "datetime", "functools", "heapq", "itertools", "json", "math",
                      "operator", "random", "re", "statistics", "string", "sys", "time", "typing")
_NAMES_OF_JUDGES = {
    "collections": "deque defaultdict Counter OrderedDict namedtuple ChainMap",
    "heapq": "heapify heappush heappop heappushpop heapreplace nlargest nsmallest merge",
    "bisect": "bisect_left bisect_right insort insort_left insort_right",
    "itertools": "accumulate chain combinations combinations_with_replacement count cycle groupby islice pairwise "
                 "permutations product repeat starmap takewhile dropwhile zip_longest",
    "functools": "cache lru_cache reduce partial cmp_to_key total_ordering",
    "math": "inf nan pi e ceil floor sqrt isqrt gcd lcm comb perm factorial log log2 log10 exp hypot dist prod",
    "string": "ascii_lowercase ascii_uppercase ascii_letters digits",
    "copy": "deepcopy", "datetime": "timedelta", "decimal": "Decimal", "fractions": "Fraction",
}
"""What judges of functions, LeetCode and those after it, have imported before a solution: its authors leave it out."""
_NODES = """
class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next


class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right
"""


def main(requests: BinaryIO, replies: BinaryIO) -> None:
    """Watches jobs until there are no more; runs on, as a job, in each process that it forks."""
    for name in _COMMON:
        __import__(name)
    sys.set_int_max_str_digits(0)  # what is printed may be long: there are limits on time and output
    vars(builtins).update(exit=_exit, quit=_exit)  # which `site` would have put there
    threading.stack_size = _stack_size
    resource.setrlimit = _set_limit
    confinement = Confinement()
    _reply(replies, confinement.layers)
    while True:
        try:
            job = marshal.load(requests)
        except EOFError:
            os._exit(0)
        printed, said = os.pipe()
        report, reported = os.pipe()
        pid = os.fork()
        if pid == 0:
            _begin(job, said, reported, confinement)
        os.close(said)
        os.close(reported)
        _reply(replies, _outcome(pid, requests.fileno(), (printed, report), job["most"]))


def _exit(code: Any = None) -> NoReturn:
    """`exit` and `quit`."""
    raise SystemExit(code)


def _stack_size(size: int = 0) -> int:
    """Of a thread, no larger than the memory of a job allows: programs that recurse ask for hundreds of MiB."""
    return _thread.stack_size(min(size, _LARGEST_STACK))


def _set_limit(kind: int, limits: tuple[int, int]) -> None:
    """Lets programs believe that their stack may grow; all else is refused, as it was."""
    if kind != resource.RLIMIT_STACK:
        _SETRLIMIT(kind, limits)


def _reply(replies: BinaryIO, message: Any) -> None:
    marshal.dump(message, replies)
    replies.flush()


def _outcome(pid: int, requests: int, pipes: Sequence[int], most: int) -> tuple[int, float, bool, bytes, bytes]:
    """What a job says until it ends, or says too much and is killed."""
    texts = {pipe: bytearray() for pipe in pipes}
    waiting = set(pipes)
    is_flooded = False
    while waiting and not is_flooded:
        ready = select.select([requests, *waiting], [], [])[0]
        if requests in ready:
            os.kill(pid, _SIGKILL)
            os.waitpid(pid, 0)
            os._exit(0)
        for pipe in ready:
            block = os.read(pipe, 1 << 16)
            texts[pipe] += block
            is_flooded |= len(texts[pipe]) > most
            if not block:
                waiting.remove(pipe)
    if is_flooded:
        os.kill(pid, _SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    for pipe in pipes:
        os.close(pipe)
    printed, report = (bytes(texts[pipe]) for pipe in pipes)
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, is_flooded, printed, report


def _begin(job: dict[str, Any], said: int, reported: int, confinement: Confinement) -> NoReturn:
    """The life of a job's process. Nothing of the program runs unless all of the confinement holds."""
    try:
        os.dup2(_file_of(job["stdin"]), 0)
        os.dup2(said if job["kind"] == "program" else 2, 1)
        os.dup2(reported, _REPORT)
        sys.stdin = sys.__stdin__ = _stream(0, "r")  # type: ignore[misc]
        sys.stdout = sys.__stdout__ = _stream(1, "w")  # type: ignore[misc]
        random.seed(0)  # the same verdict each time
        confinement.apply(seconds=job["seconds"], memory=job["memory"] << 20)
        os.write(_REPORT, b"C")
    except BaseException:  # noqa: BLE001 - whatever it is, the program must not run
        os._exit(1)
    _perform(job)


def _stream(descriptor: int, mode: str) -> TextIOWrapper:
    return open(descriptor, mode, encoding="utf-8", errors="surrogateescape", closefd=False)  # type: ignore[return-value]


def _file_of(content: bytes) -> int:
    """A descriptor to read from, of a file that has no name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("stdin")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _perform(job: dict[str, Any]) -> NoReturn:
    """Runs the program, and reports."""
    is_program = job["kind"] == "program"
    names = _names("__main__" if is_program else "answer")
    names.update(_given(as_judge=job["kind"] == "call" or "class Solution" in job["code"]))
    own_builtins = dict(vars(builtins))
    try:
        _run(job["setup"], job["code"], names, is_program=is_program)
        if job["kind"] == "call":
            _call(job["function"], job["arguments"], names)
        elif job["kind"] == "tests":
            _test(job["tests"], names, own_builtins)
            _report(job["proof"])
    except BaseException as error:  # noqa: BLE001 - programs raise anything
        if not (is_program and isinstance(error, SystemExit)):
            _report(b"E" + _described(error))
        code = error.code
        _leave(names, 0 if code is None else code if isinstance(code, int) else 1)
    _leave(names, 0)


def _leave(names: dict[str, Any], code: int) -> NoReturn:
    """Ends a program as Python does, with what it left to do, but not by taking the interpreter apart (7 ms)."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(Exception):  # a program may have put anything there
            stream.flush()  # type: ignore[union-attr]
    names.clear()  # closes, and so writes out, files of its own over descriptor 1
    os._exit(code & 0xFF)


def _report(text: bytes) -> NoReturn:
    with open(_REPORT, "wb", closefd=False) as file:  # the end of a process is seen by its descriptors
        file.write(text)
    os._exit(0)


def _names(name: str) -> dict[str, Any]:
    """The names of a new module, which can be imported as `solution` as well."""
    module = ModuleType(name)
    sys.modules[name] = sys.modules["solution"] = module
    sys.argv[:] = [f"{name}.py"]
    module.__dict__["__builtins__"] = builtins
    return module.__dict__


def _given(*, as_judge: bool) -> dict[str, Any]:
    """Names that a program may use without their import: those of annotations, and what a judge of functions has."""
    names = {name: value for name, value in vars(typing).items() if name in typing.__all__ and name[0].isupper()}
    if not as_judge:
        return names
    names.update({name: __import__(name) for name in _MODULES_OF_JUDGES})
    for module, chosen in _NAMES_OF_JUDGES.items():
        names.update({name: vars(__import__(module))[name] for name in chosen.split()})
    nodes: dict[str, Any] = {"__name__": "answer"}
    exec(_NODES, nodes)
    return {**names, "ListNode": nodes["ListNode"], "TreeNode": nodes["TreeNode"]}


def _run(setup: str, code: str, names: dict[str, Any], *, is_program: bool) -> None:
    """The setup, then the program; in one piece where the program is only a rest: the body of a function.

    Where only its functions matter, a program may end by itself, or for want of input to an example of its use.
    """
    try:
        program = compile(code, "<answer>", "exec", dont_inherit=True)
    except SyntaxError:
        if not setup:
            raise
        setup, program = "", compile(f"{setup}\n{code}", "<answer>", "exec", dont_inherit=True)
    try:
        exec(compile(setup, "<setup>", "exec", dont_inherit=True), names)
    except BaseException as error:  # noqa: BLE001 - programs raise anything
        _report(b"S" + _described(error))
    os.write(_REPORT, b"R")
    with contextlib.suppress(*() if is_program else (EOFError, SystemExit)):
        exec(program, names)


def _call(function: str, arguments: list[Any], names: dict[str, Any]) -> NoReturn:
    solution = names.get("Solution")
    if function not in names and not hasattr(solution, function):
        raise NameError(f"there is no function {function!r}")
    called = getattr(solution(), function) if solution and hasattr(solution, function) else names[function]
    _report(b"V" + json.dumps(called(*arguments)).encode())


def _test(tests: Any, names: dict[str, Any], own_builtins: dict[str, Any]) -> None:
    """Runs tests; reports the two sides of the comparison that failed last."""
    compared: list[str] = []
    try:
        exec(tests, {**names, "__builtins__": own_builtins, "__same__": _comparison(compared)})
    except AssertionError:
        if not compared or not compared[-1]:
            raise
        _report(b"E" + compared[-1].encode(errors="replace"))


def _comparison(compared: list[str]) -> Callable[[Any, Any, str], bool]:
    """`==` as tests use it; notes what differed, and "" where nothing did."""
    library = os.path.dirname(os.__file__)

    def has_own_equality(value: Any) -> bool:
        method = type(value).__eq__
        return isinstance(method, FunctionType) and not method.__code__.co_filename.startswith((library, "<frozen"))

    def same(left: Any, right: Any) -> bool:
        if type(left) is not type(right):
            return not (has_own_equality(left) or has_own_equality(right)) and bool(left == right)
        if type(left) in (list, tuple):
            return len(left) == len(right) and all(map(same, left, right))
        if type(left) is dict:
            return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
        return left is right or bool(left == right)

    def compare(left: Any, right: Any, text: str) -> bool:
        is_same = same(left, right)
        compared.append("" if is_same else f"{text}: expected {_short(right)}, found {_short(left)}")
        return is_same

    return compare


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _described(error: BaseException) -> bytes:
    """The exception, and the last line of the program that it went through."""
    lines = [error.lineno] if isinstance(error, SyntaxError) and error.lineno else []
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "<answer>":
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {text[:150]}".rstrip(": ").encode(errors="replace") + where.encode()
