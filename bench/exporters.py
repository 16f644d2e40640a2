"""Networks by both of PyTorch's exporters and from Keras, beside onnx2tf and TFLiteConverter: docs/exporters.md.

The networks are those of tests/exporters. Counted: operators, TRANSPOSE operators, and the bytes that these write.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from measure import ROOT, peer, table

PAGE = ROOT / "docs" / "exporters.md"
PEER_SECONDS = 240
APPLICATIONS = (
    *("EfficientNetB0:64", "MobileNetV3Small:64", "InceptionV3:96", "DenseNet121:64", "ResNet50:64"),
    *("MobileNet:64", "MobileNetV2:64", "EfficientNetV2B0:64", "Xception:96", "NASNetMobile:224", "ResNet50V2:64"),
    "ConvNeXtTiny:64",
)
NOTES = """Two things are so on purpose. `crnn` has two bidirectional layers of 64 units as one operator each, after the
one that writes their states: as loops they were 123 operators, 9 % faster with XNNPACK (0.96 ms for 1.05 on one thread)
and 4 % slower without. A channel shuffle stays RESHAPE, TRANSPOSE, RESHAPE (`shufflenet_v2`): on [1, 28, 28, 116] it
takes 0.1 ms; one GATHER of the channels takes 0.9 ms, strided slices 1.9 ms."""
HEADER = ("operators", "TRANSPOSE", "bytes", "dB")


@dataclass(frozen=True)
class Counted:
    """What a .tflite file does.

    Attributes:
        operators, transposes: how many.
        moved: bytes that the transposes write in one inference.
        fidelity: signal-to-noise ratio beside the source, dB, where it was measured.
    """

    operators: int
    transposes: int
    moved: int
    fidelity: float | None

    def cells(self) -> list[str]:
        """For the table."""
        told = "" if self.fidelity is None else f"{self.fidelity:.0f}"
        return [str(self.operators), str(self.transposes), f"{self.moved:,}", told]

    def within(self, other: Counted) -> bool:
        """Whether this has no more operators than another, and moves no more."""
        return self.operators <= other.operators and self.moved <= other.moved


def counted(file: Path, fidelity: float | None = None) -> Counted:
    """Reads the tables of a .tflite file."""
    from ai_edge_litert import schema_py_generated as schema

    graphs = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in graphs.operatorCodes]
    sizes = {schema.TensorType.FLOAT32: 4, schema.TensorType.INT32: 4, schema.TensorType.INT64: 8}
    operators, transposes, moved = 0, 0, 0
    for graph in graphs.subgraphs:
        operators += len(graph.operators)
        for operator in graph.operators:
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.TRANSPOSE:
                tensor = graph.tensors[operator.outputs[0]]
                transposes += 1
                moved += prod(tensor.shape.tolist()) * sizes[tensor.type]
    return Counted(operators, transposes, moved, fidelity)


def fidelity(source: Path, file: Path, feed: dict[str, np.ndarray]) -> float:
    """The worst output's signal-to-noise ratio of a peer's file, which has channels last and names of its own."""
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    wanted = onnxruntime.InferenceSession(source).run(None, feed)
    interpreter = Interpreter(str(file), num_threads=2)
    interpreter.allocate_tensors()
    for array, detail in zip(feed.values(), interpreter.get_input_details(), strict=True):
        given = array if array.shape == tuple(detail["shape"]) else np.moveaxis(array, 1, -1)
        interpreter.set_tensor(detail["index"], np.ascontiguousarray(given, detail["dtype"]))
    interpreter.invoke()
    found = [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]
    return min(max((_ratio(array, other) for other in found), default=-np.inf) for array in wanted)


def _ratio(wanted: np.ndarray, found: np.ndarray) -> float:
    if wanted.shape != found.shape and wanted.ndim > 2:
        found = np.moveaxis(found, -1, 1)
    if wanted.shape != found.shape:
        return -np.inf
    noise = np.square(wanted - found, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(wanted, dtype=np.float64).sum() / noise)) if noise else np.inf


def ours(source: Path, folder: Path) -> Counted:
    """Our file, verified beside the source."""
    import narrowcast

    written = narrowcast.save(narrowcast.load(source), folder / "ours.tflite")
    return counted(written.path, written.parity.sqnr_db)


def onnx2tf(program: str, source: Path, folder: Path, feed: dict[str, np.ndarray]) -> Counted | str:
    """onnx2tf's file, or what became of it."""
    copy = Path(shutil.copyfile(source, folder / "theirs.onnx"))  # it writes a simplified graph over its input
    command = [program, "-i", str(copy), "-o", str(folder / "theirs"), "-n"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PEER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"not done after {PEER_SECONDS} s"
    files = sorted((folder / "theirs").glob("*_float32.tflite"))
    if done.returncode or not files:
        return f"fails (exit code {done.returncode})"
    try:
        return counted(files[0], fidelity(source, files[0], feed))
    except (RuntimeError, ValueError):
        return "LiteRT refuses the file"


def row(name: str, made: Counted, other: Counted | str | None) -> list[str]:
    """A line of a table: the network, ours, theirs, and whether ours is within theirs."""
    cells = [name, *made.cells()]
    if isinstance(other, Counted):
        return [*cells, *other.cells(), "yes" if made.within(other) else "**no**"]
    return [*cells, other, "", "", "", ""] if other else cells


def exported(program: str | None, chosen: list[str]) -> Iterator[list[str]]:
    """The networks of tests/exporters by both exporters."""
    sys.path.insert(0, str(ROOT))
    from tests.exporters.networks import EXPORTERS, NETWORKS, export

    for name, network in NETWORKS.items():
        feed = {key: tensor.numpy() for key, tensor in zip(network.inputs, network.feed(), strict=True)}
        for exporter in EXPORTERS:
            if chosen and name not in chosen:
                continue
            with tempfile.TemporaryDirectory() as text:
                folder = Path(text)
                source = export(name, exporter, folder / f"{name}.onnx")
                theirs = onnx2tf(program, source, folder, feed) if program else None
                yield row(f"{name}, {exporter}", ours(source, folder), theirs)


def applications(python: str, chosen: list[str]) -> Iterator[list[str]]:
    """The networks of keras.applications."""
    words = [word for word in APPLICATIONS if not chosen or word.partition(":")[0] in chosen]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        script = Path(__file__).parent / "peers" / "keras_applications.py"
        subprocess.run([python, str(script), str(folder), *words], check=True, capture_output=True)
        for word in words:
            name = word.partition(":")[0]
            made = ours(folder / f"{name}.keras", folder)
            yield row(name, made, counted(folder / f"{name}.tflite"))


def main() -> None:
    """Measures, and writes the page unless networks are named as arguments."""
    from narrowcast.evaluation.machine import machine

    program, python, chosen = peer("NARROWCAST_BENCH_ONNX2TF"), peer("NARROWCAST_BENCH_TF_PYTHON"), sys.argv[1:]
    parts = [
        "# One graph from any exporter\n\nNetworks with seeded random weights, written in PyTorch (`tests/exporters`), "
        "exported by `torch.onnx.export` with `dynamo=True` and with the TorchScript exporter, converted to float32 "
        "TFLite: operators, TRANSPOSE operators and the bytes that these write, and the signal-to-noise ratio beside "
        "ONNX Runtime in dB. *Within*: no more operators than the other tool's file, and no more bytes transposed.\n\n"
        f"Made by `bench/exporters.py` on: {machine()}."
    ]
    for peer_name, first, lines in (
        ("onnx2tf", "network, exporter", exported(program, chosen)),
        ("TFLiteConverter", "keras.applications", applications(python, chosen) if python else iter(())),
    ):
        rows = []
        for line in lines:
            print(*line, sep=" | ", flush=True)
            rows.append(line)
        header = [first, *HEADER, f"{peer_name}: operators", *HEADER[1:], "within"]
        if rows:
            parts.append(table(header[: len(rows[0])], rows))
    parts.append(NOTES.replace("\n", " "))
    if not chosen:
        PAGE.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
