"""Whether two checkouts write the same TFLite files: the zoo in every scheme, and ONNX's own node tests in floats.

    PYTHONPATH=src python bench/identical.py write FOLDER [--quick] [--nodes] [--only WORD ...]
    python bench/identical.py compare FOLDER OTHER [--nameless]

`write` takes the `narrowcast` that Python finds, so a folder is made for each checkout. Calibration is on a few random
samples of a fixed seed. `compare` reads both files of a pair whose bytes differ, and says which operators, tensors and
contents do; `--nameless` passes over files in which only tensors are called otherwise. What a file records of its own
making (version, source, options) is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measure import ROOT, zoo
from zoo import NETWORKS, Network

SCHEMES = ("float32", "float16", "dynamic_range", "int8", "int16x8")
QUICK = (
    "mobilenet_v2_tf2onnx",
    "tiny_resnet8",
    "cifar10_resnet20",
    "cnn_mnist8",
    "tiny_vww",
    "yolox_nano",
    "fastestdet",
    "ultraface_rfb320_post",
    "super_resolution",
    "dtln_1",
    "silero_vad_op18",
    "g2p_en",
)
"""A varied dozen of the zoo."""
SAMPLES = 4
RECORD = b"narrowcast"
"""The metadata in which a file says how it was made."""
REFUSED = ".refused"


def samples(model: Any, seed: int) -> list[dict[str, np.ndarray]]:
    """Random inputs; indices stay below 3."""
    random = np.random.default_rng(seed)

    def drawn(spec: Any) -> np.ndarray:
        if np.dtype(spec.dtype).kind == "f":
            return random.standard_normal(spec.shape).astype(spec.dtype)
        return random.integers(0, 3, spec.shape).astype(spec.dtype)

    return [{spec.name: drawn(spec) for spec in model.inputs} for _ in range(SAMPLES)]


def write_network(network: Network, folder: Path) -> None:
    """One file for each scheme."""
    import narrowcast

    model = narrowcast.load(zoo() / "models" / network.file, **network.load)
    place = folder / network.file.replace("/", "_")
    place.mkdir(parents=True, exist_ok=True)
    for scheme in SCHEMES:
        feeds = samples(model, zlib.crc32(network.file.encode()))
        _save(narrowcast.quantize(model, scheme, data=feeds), place / f"{scheme}.tflite")


def write_nodes(folder: Path) -> None:
    """A float32 file for each of ONNX's node tests that is not refused, or a file with the reason."""
    import narrowcast
    from narrowcast.errors import NarrowcastError

    sys.path.insert(0, str(ROOT))
    from tests.onnx_suite.collect import collect

    sources, place = folder / "sources", folder / "nodes"
    for made in (sources, place):
        made.mkdir(parents=True, exist_ok=True)
    for name in collect(sources):
        try:
            _save(narrowcast.load(sources / f"{name}.onnx"), place / f"{name}.tflite")
        except NarrowcastError as error:
            (place / f"{name}{REFUSED}").write_text(f"{type(error).__name__}: {error.what}")
        except Exception:
            (place / f"{name}{REFUSED}").write_text(traceback.format_exc())


def _save(model: Any, path: Path) -> None:
    import narrowcast

    narrowcast.save(model, path, verify=False)


def differences(one: Path, other: Path, *, named: bool = True) -> Iterator[str]:
    """What two folders do not have in common, a line for each file and then what differs in it."""
    files = {
        path.relative_to(root)
        for root in (one, other)
        for path in root.rglob("*")
        if path.suffix in (".tflite", REFUSED)
    }
    for name in sorted(files):
        if not (one / name).exists() or not (other / name).exists():
            if name.suffix != REFUSED:
                yield f"{name}: only in {one if (one / name).exists() else other}"
            continue
        left, right = (one / name).read_bytes(), (other / name).read_bytes()
        if left == right:
            continue
        if name.suffix == REFUSED:
            yield f"{name}: {left.decode()!r} is now {right.decode()!r}"
            continue
        parts, twins = Counter(described(left, named=named)), Counter(described(right, named=named))
        lost, new = list((parts - twins).elements()), list((twins - parts).elements())
        if lost or new:
            yield f"{name}: {len(lost)} parts are gone, {len(new)} are new"
            yield from (f"  - {part}" for part in lost[:SHOWN])
            yield from (f"  + {part}" for part in new[:SHOWN])


SHOWN = 8


def described(data: bytes, *, named: bool = True) -> Iterator[str]:
    """All that a file holds, a line for each part: tensors, operators, signatures, metadata."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    contents = [_content(data, buffer) for buffer in model.buffers]
    codes = [f"{code.builtinCode} version {code.version} {code.customCode or ''}" for code in model.operatorCodes]
    for count, graph in enumerate(model.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            kind = _plain((tensor.type, tensor.shape, tensor.shapeSignature, tensor.quantization))
            name = _text(tensor.name) if named else ""
            yield f"graph {count}, tensor {index} {name}: {kind} {contents[tensor.buffer]}"
        for index, operator in enumerate(graph.operators):
            wires = _plain((operator.inputs, operator.outputs, operator.builtinOptions, operator.builtinOptions2))
            yield f"graph {count}, operator {index}: {codes[operator.opcodeIndex]} {wires}"
        yield f"graph {count}: {_plain((graph.inputs, graph.outputs))}"
    yield from (f"signature {_plain(signature)}" for signature in model.signatureDefs or ())
    yield from (
        f"metadata {_text(entry.name)} {contents[entry.buffer]}"
        for entry in model.metadata or ()
        if entry.name != RECORD
    )


def _content(data: bytes, buffer: Any) -> str:
    """The hash of a buffer, which lies in the flatbuffer or behind it."""
    held = data[buffer.offset : buffer.offset + buffer.size] if buffer.offset > 1 else buffer.data
    return "" if held is None else hashlib.sha256(np.asarray(bytearray(held)).tobytes()).hexdigest()[:16]


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""


def _plain(thing: Any) -> Any:
    """Objects of the schema as dictionaries, without what is not set."""
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if isinstance(thing, bytes):
        return thing.decode()
    if isinstance(thing, list | tuple):
        return [_plain(part) for part in thing]
    if hasattr(thing, "__dict__"):
        return {name: _plain(part) for name, part in vars(thing).items() if part is not None}
    return thing


def main() -> int:
    """Writes a folder, or compares two; the number of differing files is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    write = verbs.add_parser("write")
    write.add_argument("folder", type=Path)
    write.add_argument("--quick", action="store_true", help="a dozen networks")
    write.add_argument("--nodes", action="store_true", help="ONNX's node tests instead of the zoo")
    write.add_argument("--only", nargs="*", default=[], help="networks whose names hold one of these words")
    compare = verbs.add_parser("compare")
    compare.add_argument("folders", type=Path, nargs=2)
    compare.add_argument("--nameless", action="store_true", help="whatever tensors are called")
    options = parser.parse_args()
    if options.verb == "compare":
        lines = list(differences(*options.folders, named=not options.nameless))
        print("\n".join(lines) or "identical")
        return min(sum(not line.startswith("  ") for line in lines), 100)
    if options.nodes:
        write_nodes(options.folder)
        return 0
    words = options.only or (QUICK if options.quick else [""])
    for network in NETWORKS:
        if any(word in network.file for word in words):
            write_network(network, options.folder)
            print(network.file, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
