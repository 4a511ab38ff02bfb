"""What the figures were measured on: without this a number says nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def environment() -> dict[str, str | int | float]:
    """CPU, cores, load, memory, interpreter and the packages whose speed matters."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count() or 0,
        "load_1min": round(load, 2),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{package: version(package) for package in ("endcap", "numba", "numpy", "msgspec", "uvicorn")},
    }


def cpu_model() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_bytes() -> int:
    """Physical memory, 0 when the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


def resident_bytes(pid: int | str = "self") -> int:
    """Memory that a process holds now; 0 where /proc does not exist."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def cpu_seconds(pid: int) -> float:
    """User + system time of a process so far; 0 where /proc does not exist.

    CPU per request is the steadiest figure on a shared machine: other people's work moves it far less than it moves
    requests per second.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
