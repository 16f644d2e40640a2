"""Runs all benchmarks, and names the machine in docs/benchmarks.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measure import publish

SCRIPTS = (
    "startup",
    "convert_time",
    "quantize_time",
    "calibration",
    "latency",
    "accuracy",
    "recurrent",
    "tflite_sources",
    "tflite_again",
    "transcripts",
    "scale",
)


def main() -> None:
    """One after the other; a failure stops the run."""
    from narrowcast.evaluation.machine import machine

    publish("Machine", machine())
    for name in sys.argv[1:] or SCRIPTS:
        subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)


if __name__ == "__main__":
    main()
