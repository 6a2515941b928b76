"""Runs a loop in child processes that kill themselves, each a little later, until one gets to the end.

    python -m tests.run.killed RECIPE OUT SEED

A child is killed by SIGKILL just before one of its file operations inside OUT (every open, rename, removal or new
folder is one, so it also happens between the parts of a policy that is being saved), or just after a moment drawn at
random. Prints the operation, or the seconds, that each child got to. Children are forked, so that torch is imported
once.
"""

import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from sparkcli.files.recipe import read_recipe
from sparkcli.run.loop import run
from sparkcli.run.settings import Settings
from sparkcli.run.watch import watching

OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
FIRST = 6
"""Children that die within the first `SOON` operations, while a run begins or a step is under way."""
SOON = 60
CHILDREN = 100


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_operation(number: int, out: str) -> None:
    """Kills this process just before its `number`-th file operation inside `out`."""
    count = itertools.count(1)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OPERATIONS and out in str(arguments[0]) and next(count) == number:
            die()

    sys.addaudithook(watch)


def die_after(seconds: float) -> None:
    """Kills this process after a time, whatever it is doing then."""
    threading.Thread(target=lambda: (time.sleep(seconds), die()), daemon=True).start()


def child(recipe: str, out: str, death: tuple[str, float]) -> None:
    kind, when = death
    settings = Settings.of(read_recipe(recipe), {}, {"out": out})
    if kind == "operation":
        die_before_operation(int(when), out)
    else:
        die_after(when)
    with watching(terminal=False, quiet=True, steps=settings.loop.steps) as watcher:
        run(settings, watcher, resume=True)


def deaths(seed: int) -> Iterator[tuple[str, float]]:
    """How each child dies; later and later, so that one gets through even where a step takes long."""
    draw = random.Random(seed)
    for number in range(CHILDREN):
        operation = "operation", draw.randint(1, SOON + 4 * max(0, number - FIRST))
        moment = "seconds", draw.uniform(0.05, 1.0 + 0.1 * number)
        yield operation if number < FIRST else draw.choice([operation, moment])


def main() -> None:
    recipe, out, seed = sys.argv[1:]
    for death in deaths(int(seed)):
        pid = os.fork()
        if pid == 0:
            child(recipe, out, death)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status)
        print(*death, "killed" if killed else "ended", os.waitstatus_to_exitcode(status), flush=True)
        if not killed:
            sys.exit(os.waitstatus_to_exitcode(status))
    sys.exit(1)


if __name__ == "__main__":
    main()
