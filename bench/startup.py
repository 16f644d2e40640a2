"""What the tool costs before it does anything."""

from __future__ import annotations

import sys

from measure import NARROWCAST, alternate, publish, table

IMPORTS = (
    "import narrowcast.model, narrowcast.reference, onnxruntime, ai_edge_litert.interpreter, narrowcast.writers.tflite"
)


def main() -> None:
    """Measures and publishes."""
    found = alternate(
        {
            "narrowcast --help": [NARROWCAST, "--help"],
            "narrowcast --version": [NARROWCAST, "--version"],
            "all that a conversion imports": [sys.executable, "-c", IMPORTS],
        },
        rounds=9,
    )
    publish("Start", table(["", "seconds"], [[name, timing] for name, timing in found.items()]))


if __name__ == "__main__":
    main()
