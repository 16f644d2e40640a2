"""What was measured on: processor, cores, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from narrowcast.runtimes import RUNTIMES, Runtime

__all__ = ["machine"]


def machine() -> str:
    """One line: processor, usable cores, system, versions of the runtimes."""
    found = []
    rows = [row for row in RUNTIMES.values() if isinstance(row, Runtime) and row.package]
    for package in dict.fromkeys(["narrowcast", *(row.package.replace("_", "-") for row in rows)]):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return (
        f"{_processor()}, {_cores()} cores, {platform.system()}, Python {platform.python_version()}, {', '.join(found)}"
    )


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
