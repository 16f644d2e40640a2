"""What the benchmarks share: watches read alternately, medians, Markdown tables in docs/benchmarks.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
NARROWCAST = str(Path(sys.executable).with_name("narrowcast"))


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate over all rounds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:.2f} s ({min(self.seconds):.2f} to {max(self.seconds):.2f})"


def zoo() -> Path:
    """The folder of real models and data that NARROWCAST_ZOO names."""
    folder = os.environ.get("NARROWCAST_ZOO")
    if not folder:
        sys.exit("NARROWCAST_ZOO must name the folder of real models and data")
    return Path(folder)


def peer(variable: str) -> str | None:
    """The program of a peer's own environment, as an environment variable names it; None, said, where it does not."""
    found = os.environ.get(variable)
    if not found:
        print(f"{variable} is not set: this peer is left out", file=sys.stderr)
    return found


def alternate(commands: Mapping[str, Sequence[str]], rounds: int = 5, files: Sequence[Path] = ()) -> dict[str, Timing]:
    """Runs whole processes in turn, one warm-up round first, each in an empty folder with copies of `files`.

    Copies, because a peer may write over what it is given: onnx2tf does.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            with tempfile.TemporaryDirectory() as folder:
                for file in files:
                    shutil.copyfile(file, Path(folder) / file.name)
                start = perf_counter()
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
                seconds = perf_counter() - start
            if done.returncode != 0:
                sys.exit(
                    f"{name} failed ({done.returncode}): {' '.join(command)}\n"
                    f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
                )
            if turn:
                times[name].append(seconds)
    return {name: Timing(tuple(values)) for name, values in times.items()}


def interleave(watches: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Times functions in turn, within one process."""
    times: dict[str, list[float]] = {name: [] for name in watches}
    for turn in range(rounds + 2):
        for name, watch in watches.items():
            start = perf_counter()
            watch()
            if turn > 1:
                times[name].append(perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in times.items()}


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def publish(section: str, text: str) -> None:
    """Prints a section, and puts it between its markers in docs/benchmarks.md."""
    print(f"\n## {section}\n\n{text}")
    begin, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    page = PAGE.read_text() if PAGE.exists() else "# Benchmarks\n"
    block = f"{begin}\n## {section}\n\n{text}\n{end}"
    if begin in page:
        page = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: block, page, flags=re.DOTALL)
    else:
        page = page.rstrip() + f"\n\n{block}\n"
    PAGE.write_text(page)
