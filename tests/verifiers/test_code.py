"""Programs against tests: what is read, in which shapes tests come, and what the verdicts say."""

import json
import time

import pytest

from sparkcli.config import VerifyConfig
from sparkcli.errors import InputError
from sparkcli.method.answers import Reading
from sparkcli.records import Rollout, Verdict
from sparkcli.verdicts.referee import Referee
from sparkcli.verifiers.code import VERIFIER, read
from sparkcli.verifiers.code_gold import text_fault
from sparkcli.verifiers.registry import resolve

HUMANEVAL_PROMPT = '''from typing import List


def has_close_elements(numbers: List[float], threshold: float) -> bool:
    """ Check if in given list of numbers, are any two numbers closer to each other than given threshold. """
'''
HUMANEVAL_TEST = '''

METADATA = {
    'author': 'jt',
    'dataset': 'test'
}


def check(candidate):
    assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3) == True
    assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05) == False
'''
HUMANEVAL_BODY = "    return any(abs(a - b) < threshold for i, a in enumerate(numbers) for b in numbers[:i])\n"
MBPP = json.dumps(["assert similar((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)", "assert similar((1, 2),(5, 4)) == ()",
                   "assert similar((11, 13),(13, 11)) == (11, 13)"])
APPS = json.dumps({"inputs": ["2\n1 2\n3 4\n", "1\n5 5\n"], "outputs": ["3\n7\n", "10\n"]})
APPS_CALL = json.dumps({"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [[3], 7]})
LIVE = json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}, {"input": "3 4", "output": "7"}])
LIVE_CALL = json.dumps([{"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}])
PYTEST = "from solution import f\n\ndef test_one():\n    assert f(1) == 2\n\ndef test_two():\n    assert f(2) == 3\n"
SUMS = "for _ in range(int(input())):\n    print(sum(map(int, input().split())))"


def verdict(gold: str, code: str, **options: object) -> Verdict:
    return VERIFIER.verify(gold, f"Here it is:\n```python\n{code}\n```\nThat is all.", options)


@pytest.mark.parametrize(("gold", "code", "options"), [
    (HUMANEVAL_TEST, HUMANEVAL_PROMPT + HUMANEVAL_BODY, {"entry_point": "has_close_elements"}),
    (HUMANEVAL_TEST, HUMANEVAL_BODY, {"entry_point": "has_close_elements", "setup": HUMANEVAL_PROMPT}),
    (MBPP, "def similar(a, b):\n    return tuple(sorted(set(a) & set(b)))", {}),
    ("\n".join(json.loads(MBPP)), "def similar(a, b):\n    return tuple(sorted(set(a) & set(b)))", {}),
    (APPS, SUMS, {}),
    (APPS_CALL, "def add(a, b):\n    return a + b", {}),
    (APPS_CALL, "class Solution:\n    def add(self, a, b):\n        return a + b", {}),
    (LIVE, "a, b = map(int, input().split())\nprint(a + b)", {}),
    (LIVE_CALL, "class Solution:\n    def f(self, x: List[int], k):\n        return [v + k for v in x]",
     {"entry_point": "f", "setup": "from typing import *"}),
    (PYTEST, "def f(x):\n    return x + 1", {}),
    (json.dumps({"inputs": [["1", "2"]], "outputs": [["1", "2"]]}), "print(input())\nprint(input())", {}),
], ids=["humaneval", "humaneval body", "mbpp", "mbpp as source", "apps", "apps call", "apps method", "livecodebench",
        "livecodebench call", "pytest", "lists of lines"])
def test_the_shapes_of_data_sets(gold: str, code: str, options: dict[str, object]):
    found = verdict(gold, code, **options)
    assert (found.status, found.extracted) == ("correct", code + "\n")


@pytest.mark.parametrize(("gold", "code", "options", "reason"), [
    (HUMANEVAL_TEST, "def has_close_elements(n, t):\n    return True", {"entry_point": "has_close_elements"},
     "test 1 of 1: candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.05): expected False, found True"),
    (MBPP, "def similar(a, b):\n    return (4, 5)", {},
     "test 2 of 3: similar((1, 2), (5, 4)): expected (), found (4, 5)"),
    (MBPP, "def other(): pass", {}, "test 1 of 3: NameError: name 'similar' is not defined"),
    (APPS, "print(3)\nprint(7)", {}, "test 2 of 2: expected '10', found '3'"),
    (APPS, "print(3)\nprint(8)", {}, "test 1 of 2: line 2: expected '7', found '8'"),
    (APPS, "pass", {}, "test 1 of 2: expected 2 lines, found 0"),
    (APPS, "print(undefined)", {}, "test 1 of 2: NameError: name 'undefined' is not defined (line 1)"),
    (APPS, "import os\nos.fork()", {}, "test 1 of 2: PermissionError: the sandbox refuses os.fork (line 2)"),
    (APPS, "while True: pass", {"seconds": 1}, "test 1 of 2: more than 1 s of processor time"),
    (APPS, "x = [0] * 10**9", {"memory": 128}, "test 1 of 2: MemoryError (line 1) (the limit is 128 MiB)"),
    (APPS_CALL, "def add(a, b):\n    return a * b", {}, "test 1 of 2: expected [3], found 2"),
    (APPS_CALL, "def add(a):\n    return a", {}, "test 1 of 2: TypeError: add() takes 1 positional argument but 2 were "
     "given"),
    (APPS_CALL, "def add(a, b):\n    return {a}", {}, "test 1 of 2: TypeError: Object of type set is not JSON "
     "serializable"),
    (PYTEST, "def f(x):\n    return 2", {}, "test 2 of 2: f(2): expected 3, found 2"),
    ("assert f() > 5, 'too small'", "def f():\n    return 5", {}, "test 1 of 1: AssertionError: too small"),
])
def test_the_reason_names_the_first_failing_test(gold: str, code: str, options: dict[str, object], reason: str):
    found = verdict(gold, code, **options)
    assert (found.status, found.reason) == ("wrong", reason)


def test_partial_rewards_are_shares_of_tests():
    options = {**VERIFIER.options, "partial": True}
    code = "def similar(a, b):\n    return tuple(sorted(set(a) & set(b), reverse=True))"
    finding = VERIFIER.check(MBPP, code, options)
    assert (finding.status, finding.score) == ("wrong", 1 / 3)
    assert finding.reason == ("passed 1 of 3 tests; test 1 of 3: similar((3, 4, 5, 6), (5, 7, 4, 10)): "
                              "expected (4, 5), found (5, 4)")
    assert VERIFIER.check(MBPP, code.replace(", reverse=True", ""), options).reward == 1.0


def test_no_test_is_begun_after_one_that_used_up_its_time():
    options = {**VERIFIER.options, "partial": True, "seconds": 1}
    gold = json.dumps({"inputs": list("12345"), "outputs": list("12345")})
    finding = VERIFIER.check(gold, "x = input()\nwhile x == '2': pass\nprint(x)", options)
    assert (finding.score, finding.reason) == (
        0.2, "passed 1 of 5 tests; test 2 of 5: more than 1 s of processor time")


EQUAL_TO_ALL = "class Any(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"


@pytest.mark.parametrize(("gold", "code"), [
    ("assert f() == 5", EQUAL_TO_ALL + "def f(): return Any()"),
    ("assert f() == [1, (2, 3)]", EQUAL_TO_ALL + "def f(): return [1, (2, Any())]"),
    ("assert 5 == f()", EQUAL_TO_ALL + "def f(): return Any()"),
    (APPS_CALL, EQUAL_TO_ALL + "def add(a, b): return Any()"),
    (APPS_CALL, "import json\njson.dumps = lambda x: '3'\ndef add(a, b): return 4"),
    ("assert f() == 5", "import sys\nsys.exit(0)"),
    ("assert f() == 5", "import os\ndef f(): os._exit(0)"),
    ("assert f() == 5", "def f(): raise SystemExit"),
    (APPS, "import os\nos._exit(0)"),
])
def test_rewards_that_are_hacked_in_known_ways_are_not_given(gold: str, code: str):
    assert verdict(gold, code).status == "wrong"


def test_objects_of_the_library_and_of_the_answer_compare_as_they_do():
    assert verdict("from collections import Counter\nfrom fractions import Fraction\n"
                   "assert f() == {'a': 1} and g() == 0.5 and h() == h() and {1: [2]} == {1: [2.0]}",
                   "from collections import Counter\nfrom fractions import Fraction\n"
                   "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
                   "def f(): return Counter('a')\ndef g(): return Fraction(1, 2)\ndef h(): return Point(3)"
                   ).status == "correct"


@pytest.mark.parametrize(("gold", "options", "reason"), [
    ("", {}, "the gold answer is Python without an assert"),
    ("42", {}, "the gold answer is Python without an assert"),
    ("f() should be 5", {}, "the gold answer is neither JSON nor Python: invalid syntax"),
    ("[]", {}, "the gold answer holds no test"),
    ("{}", {}, "the gold answer is JSON, but neither as many inputs as outputs, nor a list of statements"),
    ('{"inputs": ["1"], "outputs": []}', {}, "the gold answer is JSON, but neither as many inputs"),
    ('{"inputs": [], "outputs": []}', {}, "the gold answer holds no test"),
    ('[{"input": "1"}]', {}, "the gold answer is JSON, but neither as many inputs"),
    ('[{"input": "1 2", "output": "3"}]', {"entry_point": "f"}, "arguments or value of f are not JSON: '1 2'"),
    ('{"fn_name": "f", "inputs": [1], "outputs": [1]}', {}, "arguments of f: expected a list, found '1'"),
    ("import numpy as np\nassert np.allclose(f(), 1)", {}, "the tests import 'numpy'; there is only Python's own"),
    ("import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        assert f() == 5", {},
     "the gold answer is Python without an assert (classes of tests are not run)"),
    ("assert f() == 5", {"setup": "import numpy"}, "the setup fails: ModuleNotFoundError: No module named 'numpy'"),
])
def test_tests_that_cannot_be_run_say_nothing_about_the_answer(gold: str, options: dict[str, object], reason: str):
    found = verdict(gold, "def f():\n    return 5", **options)
    assert found.status == "gold_unparseable"
    assert found.reason is not None and found.reason.startswith(reason)


PROGRAM = "print(1)\n"
WHOLE = "the whole completion, which is Python"
BLOCK = "the last block of Python"


@pytest.mark.parametrize(("completion", "options", "expected"), [
    (f"So:\n```python\n{PROGRAM}```", {}, (PROGRAM, BLOCK)),
    (f"```py\n{PROGRAM}```\nPrints:\n```\n1\n```", {}, (PROGRAM, BLOCK)),
    (f"```Python3 title=a.py\n{PROGRAM}```", {}, (PROGRAM, BLOCK)),
    (f"```\n{PROGRAM}```\n", {}, (PROGRAM, BLOCK)),
    (f"First\n```python\nprint(2)\n```\nNo:\n```python\n{PROGRAM}```", {}, (PROGRAM, BLOCK)),
    ("```python\ndef f(): pass\n```\nTry it:\n```python\nf()\n```", {}, ("def f(): pass\n", BLOCK)),
    ("```python\ndef f(): pass\n```\nTry it:\n```python\nf()\n```", {"entry_point": "f"}, ("def f(): pass\n", BLOCK)),
    (f"cut off\n```python\n{PROGRAM}", {}, (PROGRAM, BLOCK)),
    ("- in a list\n  ```python\n  if 1:\n    print(1)\n  ```", {}, ("if 1:\n  print(1)\n", BLOCK)),
    (f"````python\n'''\n```\n'''\n{PROGRAM}````", {}, (f"'''\n```\n'''\n{PROGRAM}", BLOCK)),
    (f"```python\r\n{PROGRAM}```", {}, (PROGRAM, BLOCK)),
    ("# Reads a number.\n\nimport sys\nprint(1)", {}, ("# Reads a number.\n\nimport sys\nprint(1)", WHOLE)),
    ("n = int(input())\nprint(n)", {}, ("n = int(input())\nprint(n)", WHOLE)),
    ("    return 1\n", {"setup": "def f():\n"}, ("    return 1\n", WHOLE)),
    ("    return 1\n", {}, None),
    ("```bash\nls\n```", {}, None),
    ("```python\n\n```", {}, None),
    ("I would sort the list, and `print(1)`.", {}, None),
    ("", {}, None),
])
def test_what_is_read_as_the_program(completion: str, options: dict[str, object], expected: tuple[str, str] | None):
    assert read("assert True", completion, {**VERIFIER.options, **options}) == (expected and Reading(*expected))


def test_the_function_that_the_gold_answer_names_is_looked_for():
    completion = "```python\nclass Solution:\n    def add(self): pass\n```\n```python\nprint(Solution().add())\n```"
    assert read(APPS_CALL, completion, VERIFIER.options) == Reading("class Solution:\n    def add(self): pass\n", BLOCK)


@pytest.mark.parametrize("piece", [
    "`", " ", "```\n", "```python\n", "\n", "def ", "#", "a, ", "```a`", "\x00", "\ud800"])
def test_reading_is_linear_and_takes_any_text(piece: str):
    started = time.monotonic()
    read("assert True", piece * (1_000_000 // len(piece)), {**VERIFIER.options, "entry_point": "f"})
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(("expected", "found", "is_equal"), [
    ("1 2\n3\n", "1 2  \n3\n\n\n", True),
    ("a  b", "a b", True),
    ("0.333333333", "0.33333334", True),
    ("0.3", "0.31", False),
    ("5.0", "5", True),
    ("5", "5.0", True),
    ("1000000000000000000", "1000000000000000001", False),
    ("5", "5.0000001", False),
    ("1e9", "1000000000", True),
    ("YES", "Yes", False),
    ("nan", "nan", True),
    ("1\n2", "1 2", False),
    ("0.5 x", "0.5", False),
    ("1" * 1000, "1" * 999 + "2", False),
    ("1", "1e999999999", False),
])
def test_outputs_are_compared_by_line_and_word(expected: str, found: str, is_equal: bool):
    assert (text_fault(expected, found) == "") == is_equal


@pytest.mark.parametrize(("options", "message"), [
    ({"seconds": 0}, "seconds: expected at least 1, found 0"),
    ({"memory": 1}, "memory: expected at least 64 (MiB), found 1"),
    ({"entry_point": "a b"}, "entry_point: expected the name of a function, found 'a b'"),
    ({"seconds": 1.5}, "seconds: expected int, found 1.5"),
])
def test_impossible_options_are_refused(options: dict[str, object], message: str):
    with pytest.raises(InputError) as error:
        resolve({"name": "code", **options}, "here")
    assert message in str(error.value)


def rollout(code: str, number: int) -> Rollout:
    return Rollout(id=str(number), prompt="?", answer="assert f() == 5", sample=0, samples=1,
                   completion=f"```python\n{code}\n```")


def test_in_workers_time_on_the_clock_is_unknown_and_nobody_else_pays():
    right = "def f(): return {}"
    codes = [right.format(5), "import time\ntime.sleep(60)", right.format("2 + 3"), right.format(6),
             "import os\nos.kill(os.getppid(), 9)", "import os\nos.killpg(0, 9)", right.format("10 // 2")]
    with Referee(VerifyConfig(verifier="code", jobs=2, timeout=1.0)) as referee:
        scored = list(referee.verify(map(rollout, codes, range(len(codes)))))
    assert [entry.verdict.status for entry in scored] == [
        "correct", "timeout", "correct", "wrong", "wrong", "wrong", "correct"]
    assert [entry.reward for entry in scored] == [1.0, None, 1.0, 0.0, 0.0, 0.0, 1.0]
