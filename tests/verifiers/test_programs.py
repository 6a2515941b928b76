"""Right programs in the ways that models write them, none of which may fail for that; and wrong ones beside them."""

import json

import pytest

from sparkcli.verifiers.code import VERIFIER
from sparkcli.verifiers.code_gold import called_functions, functions_of

ONE = json.dumps({"inputs": ["3\n"], "outputs": ["9\n"]})
SQUARE = json.dumps(["assert sq(3) == 9", "assert sq(2) == 4"])
FUNCTIONAL = json.dumps([{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}])
NAMED = json.dumps([{"input": "[1]\n3", "output": "[4]", "testtype": "functional", "metadata": {"func_name": "f"}}])
CALL = json.dumps([{"type": "function_call", "fn_name": "f", "input": [[1], 3], "output": [[4]]}])
MANY_DIGITS = json.dumps({"inputs": ["5000\n"], "outputs": ["1" + "0" * 5000 + "\n"]})
SOLUTION = "class Solution:\n    def f(self, x: List[int], k: int) -> List[int]:\n        return [v + k for v in x]"
CHECK = "def check(candidate):\n    assert candidate(3) == 9\n    assert candidate(2) == 4"
READS = "n = int(input())\nprint(n * n)"
SQ = "def sq(x):\n    return x * x"
MAIN = "def main():\n    n = int(input())\n    print(n * n)\n    exit()\n\nif __name__ == '__main__':\n    main()"
JUDGES_NAMES = """class Solution:
    def f(self, x: Optional[ListNode], k):
        c, d, g, smallest = Counter(x), deque(x), defaultdict(list), inf
        h = []
        heapq.heappush(h, math.inf)
        assert pow(2, 3, 5) == 3
        @lru_cache(None)
        def r(i):
            return x[i] + k
        return [r(i) for i in range(len(x))]"""
DEEP = ("import sys\nsys.setrecursionlimit(10**6)\ndef r(n):\n    return 0 if n == 0 else 1 + r(n - 1)\nr(50000)\n"
        + READS)
THREAD = ("import sys, threading\nsys.setrecursionlimit(10**7)\nthreading.stack_size(2**26)\ndef main():\n"
          "    n = int(sys.stdin.readline())\n    print(n * n)\nt = threading.Thread(target=main)\nt.start()\nt.join()")


def fenced(*codes: str) -> str:
    return "\nThen:\n".join(f"```python\n{code}\n```" for code in codes)


@pytest.mark.parametrize(("gold", "completion"), [
    pytest.param(gold, completion, id=name) for name, gold, completion in [
        ("exit", ONE, fenced(READS + "\nexit()")), ("quit", ONE, fenced(READS + "\nquit(0)")),
        ("exit in main", ONE, fenced(MAIN)), ("SystemExit", ONE, fenced(READS + "\nraise SystemExit")),
        ("functional", FUNCTIONAL, fenced(SOLUTION)),
        ("functional with a helper", FUNCTIONAL,
         fenced("def g(v, k):\n    return v + k\ndef f(x, k):\n    return [g(v, k) for v in x]")),
        ("a method that helps", FUNCTIONAL, fenced(
            "class Solution:\n    def f(self, x, k):\n        return [self.g(v, k) for v in x]\n"
            "    def g(self, v, k):\n        return v + k")),
        ("a static method", FUNCTIONAL, fenced(
            "class Solution:\n    @staticmethod\n    def f(x, k):\n        return [v + k for v in x]")),
        ("a name in the metadata", NAMED, fenced(SOLUTION)), ("function_call", CALL, fenced(SOLUTION)),
        ("an example of use", FUNCTIONAL, fenced(SOLUTION, "print(Solution().f([1, 2], 3))")),
        ("an example beside asserts", SQUARE, fenced(SQ, "print(sq(3))")),
        ("tests beside asserts", SQUARE, fenced(SQ, "def test():\n    assert sq(3) == 9\ntest()")),
        ("an example beside a program", ONE, fenced(READS, "print(3 * 3)  # 9")),
        ("a second try", SQUARE, fenced("def sq(x):\n    return 2 * x", SQ)),
        ("imports apart", SQUARE, fenced("import math", "def sq(x):\n    return math.prod([x, x])")),
        ("an example that asks", SQUARE, fenced(SQ + "\nprint(sq(int(input())))")),
        ("an end after the function", SQUARE, fenced("import sys\n" + SQ + "\nsys.exit(0)")),
        ("a main that is not guarded", SQUARE, fenced(SQ + "\ndef main():\n    print(sq(int(input())))\nmain()")),
        ("many digits", MANY_DIGITS, fenced("print(10**int(input()))")),
        ("many digits read", json.dumps({"inputs": ["1" + "0" * 5000], "outputs": ["1" + "0" * 4999 + "1"]}),
         fenced("print(int(input()) + 1)")),
        ("many digits returned", json.dumps([{"input": "5", "output": str(10**4200) + "0" * 200,
                                              "testtype": "functional"}]), fenced("def f(n):\n    return 10**4400")),
        ("List", json.dumps(["assert sq([1]) == 1"]), fenced("def sq(x: List[int]) -> int:\n    return x[0]")),
        ("names of judges", FUNCTIONAL, fenced(JUDGES_NAMES)), ("recursion", ONE, fenced(DEEP)),
        ("a thread with a stack", ONE, fenced(THREAD)),
        ("a large stack", ONE, fenced(THREAD.replace("2**26", "2**30"))),
        ("a limit of the stack", ONE,
         fenced("import resource\nresource.setrlimit(resource.RLIMIT_STACK, (-1, -1))\n" + READS)),
        ("buffers", ONE, fenced("import sys\nn = int(sys.stdin.buffer.readline())\nsys.stdout.write(str(n * n))")),
        ("open(0)", ONE, fenced("n = int(open(0).read())\nprint(n * n)")),
        ("os.read", ONE, fenced("import os\nn = int(os.read(0, 100))\nprint(n * n)")),
        ("spaces and lines at the end", ONE, fenced("n = int(input())\nprint(n * n, end=' \\n\\n')")),
        ("line ends of Windows", json.dumps({"inputs": ["3\r\n"], "outputs": ["9\r\n"]}),
         fenced(READS).replace("\n", "\r\n")),
        ("a tuple", json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [[1, 2]]}),
         fenced("def f(x):\n    return (1, 2)")),
        ("a fence within a line", ONE, f"Here: ```python\n{READS}\n```\nThat is all."),
        ("a fence behind the last line", ONE, f"```python\n{READS}```"), ("tildes", ONE, f"~~~python\n{READS}\n~~~"),
        ("a version", ONE, f"```python3.10\n{READS}\n```"), ("braces", ONE, f"```{{python}}\n{READS}\n```"),
        ("tags", ONE, f"<answer>```python\n{READS}\n```</answer>"),
        ("check of a function", CHECK, fenced(SQ)), ("check and an example", CHECK, fenced(SQ, "print(sq(3))")),
        ("check with a helper", CHECK, fenced("def g(x):\n    return x\ndef sq(x):\n    return x * g(x)")),
        ("check of a method", CHECK, fenced("class Solution:\n    def sq(self, x):\n        return x * x")),
        ("definitions in a block before", ONE, fenced(SQ, "print(sq(int(input())))")),
        ("a helper in a block before", SQUARE, fenced("def g(x):\n    return x", "def sq(x):\n    return x * g(x)")),
        ("another attempt in a block before", SQUARE, fenced("def sq(x):\n    return x", SQ)),
        ("imports and blank lines in a block before", ONE,
         fenced("import sys\n\nfrom math import prod\n", "n = int(sys.stdin.read())\nprint(prod([n, n]))")),
        ("a docstring first", ONE, f'"""Squares."""\n{READS}'),
    ]])
def test_right_programs(gold: str, completion: str) -> None:
    assert VERIFIER.verify(gold, completion).status == "correct"


@pytest.mark.parametrize(("gold", "completion", "status", "reason"), [
    (FUNCTIONAL, fenced("class Solution:\n    def f(self, x, k):\n        return x"), "wrong",
     "test 1 of 1: expected [4, 5], found [1, 2]"),
    (FUNCTIONAL, fenced("x = 1"), "wrong", "the program defines no function that the tests could call"),
    (FUNCTIONAL, fenced("def a(x, k): return 1\ndef b(x, k): return [4, 5]"), "gold_unparseable",
     "the tests call a function that nothing names: give it as entry_point"),
    (SQUARE, fenced("exit(0)"), "wrong", "test 1 of 2: NameError: name 'sq' is not defined"),
    (SQUARE, fenced("print(sq(3))"), "wrong", "test 1 of 2: NameError: name 'sq' is not defined (line 1)"),
    (SQUARE, fenced(SQ.replace("x * x", "exit()")), "wrong", "test 1 of 2: SystemExit: None (line 2)"),
    (ONE, fenced(READS + "\nexit(1)"), "wrong", "test 1 of 1: exit status 1"),
    (ONE, fenced("n = int(input())\nprint(math.prod([n, n]))"), "wrong",
     "test 1 of 1: NameError: name 'math' is not defined (line 2)"),
    (ONE, fenced("a = input()\nb = input()"), "wrong", "test 1 of 1: EOFError: EOF when reading a line (line 2)"),
    (MANY_DIGITS, fenced("print(10**int(input()) + 1)"), "wrong", None),
    (CHECK, fenced("def sq(x):\n    return x"), "wrong", None),
    (CHECK, fenced("class Solution:\n    def sq(self, x):\n        return x"), "wrong", None),
    (CHECK, fenced("x = 9"), "wrong", "the program defines no function that the tests could call"),
    (CHECK, fenced("def f(x):\n    return x * x\ndef g(x):\n    return x"), "gold_unparseable", None),
    (SQUARE, fenced(SQ, "def sq(x):\n    return x"), "wrong", None),
])
def test_wrong_programs(gold: str, completion: str, status: str, reason: str | None) -> None:
    verdict = VERIFIER.verify(gold, completion)
    assert (verdict.status, verdict.reason if reason else None) == (status, reason)


def test_the_functions_that_tests_use() -> None:
    assert functions_of(SQUARE) == ("sq",)
    assert functions_of(CALL) == ("f",)
    assert functions_of("from solution import f\ndef test_one():\n    xs = list(range(3))\n    assert f(xs)") == ("f",)
    assert functions_of(ONE) == functions_of("not Python at all") == ()


def test_the_functions_that_a_program_may_be_about() -> None:
    assert called_functions(SOLUTION) == ["Solution().f"]
    assert called_functions("def g(): pass\ndef f(): return g()\ndef _h(): pass") == ["f"]
    assert called_functions("def f(n): return n and f(n - 1)") == ["f"]
    assert called_functions("x = (") == []


@pytest.mark.parametrize("completion", ["    return x * x\n", "<think>hm</think>\n    return x * x", "\treturn x * x"])
def test_the_body_of_a_function_keeps_its_indentation(completion: str) -> None:
    options = {"entry_point": "sq", "setup": "def sq(x):\n"}
    assert VERIFIER.verify(CHECK, completion, options).status == "correct"


def test_an_entry_point_may_be_a_method() -> None:
    completion = fenced("class Solution:\n    def sq(self, x):\n        return x * x")
    assert VERIFIER.verify(CHECK, completion, {"entry_point": "Solution().sq"}).status == "correct"
