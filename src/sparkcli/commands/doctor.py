"""`doctor`: what this machine has, and what would run."""

import importlib.metadata
import importlib.util
import os
import platform
import sys

from sparkcli import __version__
from sparkcli.builtin import PREFIX, TASKS, checkpoint
from sparkcli.commands.options import command
from sparkcli.config import ModelConfig, ServerConfig
from sparkcli.errors import UsageError

PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "safetensors", "pillow", "math-verify", "orjson",
            "typer", "rich")
OPTIONAL = {"vllm": "vllm", "bitsandbytes": "qlora"}
"""Packages, and the extras that bring them."""


@command
def doctor() -> None:
    """Also which engine and device `auto` would choose."""
    from rich.console import Console as Rich
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in _facts():
        table.add_row(name, escape(value))
    Rich(width=None if sys.stdout.isatty() else 120).print(table)


def _facts() -> list[tuple[str, str]]:
    """Name and finding, in the order printed."""
    from sparkcli.engines import choose

    facts = [("sparkcli", __version__), ("python", f"{platform.python_version()} on {platform.platform()}"),
             ("cores", f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"),
             ("memory", _memory())]
    facts += [(name, _version(name) or "MISSING: pip install sparkcli") for name in PACKAGES]
    facts += [(name, _version(name) or f"not installed; optional: pip install 'sparkcli[{extra}]'")
              for name, extra in OPTIONAL.items()]
    return [*facts, ("device", _device()), ("engine", "{} ({})".format(*choose(ModelConfig(), ServerConfig()))),
            ("sandbox for code", _sandbox()), *(("built-in model", _builtin(name)) for name in TASKS)]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return "unknown"
    return f"{total / 2**30:.0f} GiB"


def _device() -> str:
    if importlib.util.find_spec("torch") is None:
        return "none: torch is missing"
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        return "; ".join(f"cuda:{i} {c.name}, {c.total_memory / 2**30:.0f} GiB" for i, c in enumerate(cards))
    found = torch.accelerator.current_accelerator(check_available=True)
    return str(found) if found else f"cpu, threads: {torch.get_num_threads()}"


def _sandbox() -> str:
    from sparkcli.verifiers.sandbox.host import Sandbox, SandboxError

    try:
        with Sandbox() as sandbox:
            layers = [*sandbox.layers, "audit hook", "limits"]
    except SandboxError as error:
        return f"does not start: {error}"
    return ", ".join(layers)


def _builtin(name: str) -> str:
    try:
        checkpoint(f"{PREFIX}{name}")
    except UsageError as error:
        return f"MISSING: {error}"
    return f"{PREFIX}{name}"
