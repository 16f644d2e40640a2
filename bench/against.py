"""This checkout's speed beside another one's, command by command, as whole processes in turn.

python bench/against.py FOLDER      another checkout of the project, run by the same Python with its own `src`
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median

from measure import ROOT, alternate, table, zoo

QUANTIZE = ["--data", "photographs", "--preprocess", "tf", "--quiet"]
COMMANDS = {
    "--help": ([], ["--help"]),
    "ONNX to float32, not verified": (
        ["mobilenet_v2_pytorch.onnx"],
        ["convert", "mobilenet_v2_pytorch.onnx", "-o", "out.tflite", "--quiet", "--no-verify"],
    ),
    "ONNX to float32, verified": (
        ["mobilenet_v2_pytorch.onnx"],
        ["convert", "mobilenet_v2_pytorch.onnx", "-o", "out.tflite", "--quiet"],
    ),
    "Keras to float32, verified": (
        ["mobilenet_v2.keras"],
        ["convert", "mobilenet_v2.keras", "-o", "out.tflite", "--quiet"],
    ),
    "Keras 2 to float16, verified": (
        ["mobilenet_v2_keras2.h5"],
        ["quantize", "mobilenet_v2_keras2.h5", "--scheme", "float16", "-o", "out.tflite", "--quiet"],
    ),
    "ONNX to int8, 128 photographs, not verified": (
        ["mobilenet_v2_pytorch.onnx"],
        ["quantize", "mobilenet_v2_pytorch.onnx", "--scheme", "int8", "-o", "out.tflite", "--no-verify", *QUANTIZE],
    ),
    "ONNX to int8, 128 photographs, verified": (
        ["mobilenet_v2_pytorch.onnx"],
        ["quantize", "mobilenet_v2_pytorch.onnx", "--scheme", "int8", "-o", "out.tflite", *QUANTIZE],
    ),
}


def main() -> None:
    """Prints a table."""
    other = Path(sys.argv[1]).resolve()
    images = zoo() / "data" / "imagenet_even"
    rows = []
    for name, (files, arguments) in COMMANDS.items():
        arguments = [str(images) if argument == "photographs" else argument for argument in arguments]
        program = [sys.executable, "-m", "narrowcast", *arguments]
        commands = {
            "here": ["env", f"PYTHONPATH={ROOT / 'src'}", *program],
            "there": ["env", f"PYTHONPATH={other / 'src'}", *program],
        }
        found = alternate(commands, int(os.environ.get("ROUNDS", "7")), [zoo() / "models" / file for file in files])
        pairs = [here / there for here, there in zip(found["here"].seconds, found["there"].seconds, strict=True)]
        rows.append([name, found["here"], found["there"], f"{median(pairs):.3f}"])
        print(*rows[-1], sep=" | ", flush=True)
    print(table(["", "this checkout", "the other", "median of the ratios"], rows))


if __name__ == "__main__":
    main()
