"""What every benchmark script shares: its arguments, the machine's line, paired timing, a table, JSON.

A script prints one table, and with `--json FILE` writes `{"benchmark", "machine", "figures"}`.
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table


def parser(description: str, *, repeats: int) -> argparse.ArgumentParser:
    """The arguments that all scripts take; a script adds its own."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    made.add_argument("--repeats", type=int, default=repeats, help=f"runs of each candidate ({repeats})")
    return made


def machine(device: str | None = None) -> dict[str, Any]:
    """The hardware and versions that the figures belong to; memory in GiB. `device` names an accelerator."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": cpu_model(), "cores": usable_cores(), "memory_gib": round(pages * size / 2**30),
            "system": f"{platform.system()} {platform.machine()}", "python": platform.python_version(),
            "torch": importlib.metadata.version("torch"), **({"device": device} if device else {})}


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name, or its architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def interleaved(candidates: Mapping[str, Callable[[], object]], *, repeats: int,
                warmups: int = 1) -> dict[str, list[float]]:
    """Seconds of each run, by candidate. They take turns, so that a machine's moods hit all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(-warmups, repeats):
        for name, run in candidates.items():
            started = time.perf_counter()
            run()
            elapsed = time.perf_counter() - started
            if turn >= 0:
                seconds[name].append(elapsed)
    return seconds


def paired_ratio(seconds: Sequence[float], baseline: Sequence[float]) -> float:
    """The median over turns of this candidate's time by the baseline's in the same turn."""
    return statistics.median(own / other for own, other in zip(seconds, baseline, strict=True))


def report(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]], figures: Mapping[str, Any],
           json_file: Path | None, *, device: str | None = None) -> None:
    """Prints the table under the machine's line, and writes the figures where they were asked for."""
    facts = machine(device)
    console = Console()
    console.print(f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}, "
                  f"Python {facts['python']}, torch {facts['torch']}{f', {device}' if device else ''}", highlight=False)
    table = Table(title=name)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if json_file is not None:
        content = {"benchmark": name, "machine": facts, "figures": figures}
        json_file.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
