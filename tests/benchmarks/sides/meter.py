"""What one training step takes: seconds, of the clock and of all threads' processor time, and memory in two ways.

`tensors` is the peak of the memory of tensors above what lay there when the step began: on CUDA the allocator's own
figure; on a CPU the allocator's events, which the profiler records, so only where `Meter` is told to trace (that costs
time). `resident` is the peak of the process's resident size during the step, and `grown` that less the size before
(Linux only).
"""

import re
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


class Meter:
    """Measures steps, each between `begin` and `end`.

    Args:
        trace: record operators and, on a CPU, allocations; the seconds are then not to be used.
    """

    def __init__(self, device: str, trace: bool) -> None:
        self.device, self.trace = torch.device(device), trace
        self.steps: list[dict[str, float]] = []
        self.profiler: Any = None

    def begin(self) -> None:
        """Waits for the device, then starts the clock."""
        if self.on_cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
        reset_resident_peak()
        self.resident = resident("VmRSS")
        if self.trace:
            kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_cuda else [])]
            self.profiler = profile(activities=kinds, profile_memory=True, acc_events=True)
            self.profiler.start()
        self.started, self.started_cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Waits for the device, then stops the clock."""
        if self.on_cuda:
            torch.cuda.synchronize(self.device)
        seconds, cpu_seconds = time.perf_counter() - self.started, time.process_time() - self.started_cpu
        if self.trace:
            self.profiler.stop()
        peak = resident("VmHWM")
        found = {"seconds": seconds, "cpu_seconds": cpu_seconds, "resident_mib": peak / MIB,
                 "grown_mib": (peak - self.resident) / MIB}
        if self.on_cuda:
            found["tensors_mib"] = (torch.cuda.max_memory_allocated(self.device) - self.before) / MIB
        elif self.trace:
            found["tensors_mib"] = highest(self.profiler) / MIB
        self.steps.append(found)

    @property
    def name(self) -> str | None:
        """The accelerator's name; None on a CPU."""
        return torch.cuda.get_device_name(self.device) if self.on_cuda else None

    @property
    def on_cuda(self) -> bool:
        """Whether the device has an allocator that keeps its own peak."""
        return self.device.type == "cuda"


def highest(profiler: profile) -> int:
    """Largest sum of the bytes that were allocated and not yet freed, over a profile's events."""
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def resident(field: str) -> int:
    """`VmRSS`, the resident size of this process, or `VmHWM`, its peak, in bytes; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def reset_resident_peak() -> None:
    """Makes `VmHWM` start again from the present size."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")
