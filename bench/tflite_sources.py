"""Whole processes: each .tflite file of the zoo to ONNX, beside tflite2onnx and tf2onnx, and what the result computes.

NARROWCAST_BENCH_TFLITE2ONNX names the tflite2onnx program, NARROWCAST_BENCH_TF2ONNX_PYTHON the Python of an environment
with tf2onnx and tensorflow. A result is run on ONNX Runtime beside the source on LiteRT, on one random sample.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from measure import NARROWCAST, Timing, alternate, peer, publish, table, zoo

TIMED = ("vww/vww_96_float", "mediapipe_face_landmark", "segmentation/deeplabv3_257_float")
LIMIT = 120
"""Seconds for one conversion."""


def main() -> None:
    """Measures and publishes."""
    commands = {"narrowcast": [NARROWCAST, "convert", "IN", "-o", "out.onnx", "--quiet"]}
    if program := peer("NARROWCAST_BENCH_TFLITE2ONNX"):
        commands["tflite2onnx"] = [program, "IN", "out.onnx"]
    if python := peer("NARROWCAST_BENCH_TF2ONNX_PYTHON"):
        commands["tf2onnx"] = [python, "-m", "tf2onnx.convert", "--tflite", "IN", "--output", "out.onnx"]
    models = zoo() / "models"
    found = []
    for path in sorted(models.rglob("*.tflite")):
        row = [
            str(path.relative_to(models).with_suffix("")),
            *(_result(command, path) for command in commands.values()),
        ]
        found.append(row)
        print(*row, sep=" | ", flush=True)
    timed = [[path.stem, *_timed(commands, path).values()] for path in (models / f"{name}.tflite" for name in TIMED)]
    unproven = _timed({"": [*commands["narrowcast"], "--no-verify"]}, models / f"{TIMED[0]}.tflite")[""]
    from narrowcast.evaluation.machine import machine

    publish(
        "TFLite to ONNX",
        f"{machine()}.\n\n"
        "Whole processes, alternated, warm; median of 5 (lowest to highest). Ours proves its file on ONNX Runtime\n"
        f"beside LiteRT; without that the first network takes {unproven}.\n\n"
        + table(["", *commands], timed)
        + "\n\nEach .tflite file of the zoo: SQNR of the ONNX file on ONNX Runtime beside the source on LiteRT, one\n"
        "random sample, the worst output; equal: bit by bit; or what came in its place.\n\n"
        + table(["", *commands], found),
    )


def _commands(commands: Mapping[str, Sequence[str]], path: Path) -> dict[str, list[str]]:
    return {name: [path.name if part == "IN" else part for part in command] for name, command in commands.items()}


def _timed(commands: Mapping[str, Sequence[str]], path: Path) -> dict[str, Timing]:
    return alternate(_commands(commands, path), files=[path])


def _result(command: Sequence[str], path: Path) -> str:
    """What a tool makes of a file, in a word."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(path, Path(folder) / path.name)
        try:
            done = subprocess.run(
                _commands({"": command}, path)[""],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"over {LIMIT} s"
        made = Path(folder) / "out.onnx"
        if done.returncode or not made.exists():
            return "refused"
        return _beside(path, made)


def _beside(source: Path, made: Path) -> str:
    """How far an ONNX file is from the .tflite file that it was made of."""
    import onnxruntime

    from narrowcast import runtimes
    from narrowcast.errors import NarrowcastError

    try:
        original = runtimes.open(source, "litert")
    except NarrowcastError:
        return "written; LiteRT refuses the source"
    rng = np.random.default_rng(0)
    feeds = [_random(rng, spec.shape, spec.dtype) for spec in original.inputs]
    wanted = list(original.run({spec.name: feed for spec, feed in zip(original.inputs, feeds, strict=True)}).values())
    try:
        session = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
        ports = {port.name: _fitted(feed, port.shape) for port, feed in zip(session.get_inputs(), feeds, strict=True)}
        found = session.run(None, ports)
    except Exception as error:
        return f"ONNX Runtime refuses it: {type(error).__name__}"
    ratios = [_ratio(a, b) for a, b in zip(wanted, found, strict=False)]
    return "equal" if min(ratios) == np.inf else f"{min(ratios):.0f} dB"


def _random(rng: np.random.Generator, shape: Sequence[int | None], dtype: np.dtype) -> np.ndarray:
    sizes = [1 if dim is None else dim for dim in shape]
    if dtype.kind in "iu":
        low, high = (0, 8) if dtype.itemsize > 2 else (np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
        return rng.integers(low, high, sizes).astype(dtype)
    return rng.uniform(-1, 1, sizes).astype(dtype)


def _fitted(feed: np.ndarray, shape: Sequence[object]) -> np.ndarray:
    """A channel-last sample, for a port that has its channels first."""
    if feed.ndim == 4 and list(feed.shape) != list(shape) and list(feed.transpose(0, 3, 1, 2).shape) == list(shape):
        return feed.transpose(0, 3, 1, 2)
    return feed


def _ratio(wanted: np.ndarray, found: np.ndarray) -> float:
    """SQNR in dB; infinite for equal arrays, minus infinity for arrays of different sizes."""
    if wanted.size != found.size:
        return -np.inf
    if wanted.ndim == 4 and wanted.shape != found.shape:
        found = found.transpose(0, 2, 3, 1)
    wanted, found = wanted.astype(np.float64).reshape(-1), found.astype(np.float64).reshape(-1)
    noise = ((wanted - found) ** 2).sum()
    return np.inf if noise == 0 else float(10 * np.log10(max((wanted**2).sum(), 1e-30) / noise))


if __name__ == "__main__":
    main()
