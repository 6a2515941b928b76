"""Ten thousand answers that want to hang, crash or fill the memory, with ordinary ones between them.

Hostile rows differ from each other as far as that costs nothing; of the kinds that use up the time limit there are
a dozen different ones each, since equal comparisons are made once.
"""

import itertools
import json
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparkcli.config import VerifyConfig
from sparkcli.records import Rollout
from sparkcli.verdicts.referee import Referee, verify

HOSTILE, ORDINARY = 10_000, 2_000
LIMIT = 1.0
MEGABYTE = 1_000_000


def box(answer: str) -> str:
    return rf"So it is \boxed{{{answer}}}."


def code(source: str) -> str:
    return f"```python\n{source}\n```"


SLOW = 12
"""Different rows of a kind that may use up its limit."""
KINDS: dict[str, tuple[str, str, Callable[[int], str]]] = {
    "tower of powers": ("math", "4", lambda i: box(f"9^{{9^{{9^{{{i % SLOW + 2}}}}}}}")),
    "bare tower of powers": ("math", "4", lambda i: box(f"9**9**9**{i % SLOW + 2}")),
    "huge factorial": ("math", "4", lambda i: box(f"{10 ** 8 + i % SLOW}!")),
    "huge binomial": ("math", "4", lambda i: box(rf"\binom{{10^9}}{{{i % SLOW + 3}00000000}}")),
    "long sum": ("math", "4", lambda i: box(rf"\sum_{{k=1}}^{{10^{{{i % SLOW + 9}}}}} \sin(k)")),
    "big integer": ("math", "4", lambda i: box(f"{i + 1}" * (MEGABYTE // len(str(i + 1))))),
    "nested fractions": ("math", "4", lambda i: box(r"\frac{1}{1+" * 5000 + f"{i}" + "}" * 5000)),
    "nested roots": ("math", "x", lambda i: box(r"\sqrt{" * (200 + i % SLOW) + "x" + "}" * (200 + i % SLOW))),
    "nested parentheses": ("math", "4", lambda i: box("(" * 20_000 + f"{i}" + ")" * 20_000)),
    "many boxes": ("math", "4", lambda i: r"\boxed{" * (MEGABYTE // 7) + f"{i}"),
    "unbalanced braces": ("math", "4", lambda i: box("{" * 1000 + f"{i}")),
    "only backslashes": ("math", "4", lambda i: "\\" * MEGABYTE + f"{i}"),
    "a megabyte of text": ("math", "4", lambda i: f"The answer is {i + 5}. " * (MEGABYTE // 16)),
    "null bytes": ("math", "4", lambda i: box(f"\x00{i}\x00")),
    "lone surrogates": ("math", "4", lambda i: box(f"\ud800{i}\udfff")),
    "huge exponent": ("number", "4", lambda i: box(f"1e{i}99999999")),
    "option of a megabyte": ("choice", "A", lambda i: box("B" * MEGABYTE + f"{i}")),
    "backtracking": ("regex", "(a+)+b", lambda i: box("a" * (40 + i % SLOW))),
    "nested json": ("json", "{}", lambda i: "[" * 100_000 + f"{i}"),
    "endless loop": ("code", "assert f() == 1", lambda i: code(f"while True:\n    {i % SLOW}")),
    "fork bomb": ("code", "assert f() == 1", lambda i: code(f"import os\nwhile True:\n    os.fork(); {i % SLOW}")),
    "memory hog": ("code", "assert f() == 1", lambda i: code(f"x = [{i % SLOW}]\nwhile True:\n    x += x")),
    "sleeper": ("code", "assert f() == 1", lambda i: code(f"import time\ntime.sleep({i % SLOW + 1000})")),
}
ALONE: list[tuple[str, str, str]] = [
    ("math", "4", box("4")), ("math", "4", box("5")), ("math", "x+y", box("y+x")), ("math", "(1,2]", box("[1,2)")),
    ("math", r"\sqrt{8}", box(r"2\sqrt{2}")), ("math", "", box("4")), ("math", "4", "I give up"),
    ("number", "1,000", box("1000.0")), ("choice", "B", box("(b)")), ("regex", "a+b", box("aab")),
    ("json", '{"a": 1}', '{"a": 1.0}'), ("code", "assert f() == 1", code("def f():\n    return 1")),
    ("code", "assert f() == 1", code("def f():\n    return 2")),
]


def rollout(id: str, verifier: str, gold: str, completion: str) -> Rollout:
    return Rollout(id=id, prompt="?", answer=gold, verifier=verifier, sample=0, samples=1, completion=completion)


def hostile() -> Iterator[Rollout]:
    for i, (kind, (verifier, gold, completion)) in zip(range(HOSTILE), itertools.cycle(KINDS.items()), strict=False):
        yield rollout(f"{kind} {i // len(KINDS)}", verifier, gold, completion(i // len(KINDS)))


def ordinary() -> Iterator[Rollout]:
    for i, (verifier, gold, completion) in zip(range(ORDINARY), itertools.cycle(ALONE), strict=False):
        yield rollout(f"ordinary {i}", verifier, gold, f"Problem {i}. {completion}")


def mixed() -> Iterator[Rollout]:
    """An ordinary row after every five hostile ones."""
    enemies, others = hostile(), ordinary()
    for other in others:
        yield from itertools.islice(enemies, HOSTILE // ORDINARY)
        yield other
    yield from enemies


@pytest.mark.slow
def test_hostile_rows_cost_their_limit_and_change_no_other_verdict():
    config = VerifyConfig(jobs=2, timeout=LIMIT)
    alone = {scored.id: scored.verdict for scored in verify(ordinary(), config)}
    started = time.monotonic()
    statuses: defaultdict[str, Counter[str]] = defaultdict(Counter)
    among: dict[str, object] = {}
    spent = 0.0
    for scored in verify(mixed(), config):
        if scored.id in alone:
            among[scored.id] = scored.verdict
        else:
            statuses[scored.id.rpartition(" ")[0]][scored.verdict.status] += 1
    spent = time.monotonic() - started
    print(f"{HOSTILE} hostile and {ORDINARY} ordinary rows in {spent:.0f} s")
    for kind, counts in statuses.items():
        print(f"  {kind:22} {dict(counts)}")
    assert among == alone
    assert sum(map(Counter.total, statuses.values())) == HOSTILE
    assert not any(counts["correct"] for counts in statuses.values())
    assert spent < len(KINDS) * SLOW * 2 * LIMIT + 120  # every different slow row its limit, and a worker after each


def test_workers_killed_at_any_time_lose_nothing(repository: Path):
    """One kill among every hundred rows, which all end before the next: a second hit would be a row's own fault."""
    pairs = [json.loads(line) for line in (repository / "tests/verifiers/math_pairs.jsonl").read_text().splitlines()]
    rollouts = [rollout(str(i), "math", pair["gold"], box(pair["answer"])) for i, pair in enumerate(pairs)]
    config = VerifyConfig(jobs=2, timeout=60)
    undisturbed = list(verify(rollouts, config))
    scored, kills = [], 0
    with Referee(config) as referee:
        for start in range(0, len(rollouts), 100):
            for count, entry in enumerate(referee.verify(rollouts[start:start + 100])):
                scored.append(entry)
                if count == 9 + start // 20:  # sooner or later in its hundred
                    pids = referee.worker_pids
                    os.kill(pids[kills % len(pids)], signal.SIGKILL)
                    kills += 1
    assert kills == 7
    assert scored == undisturbed
