"""Recurrent layers on LiteRT: the three spellings that its page chooses between, and what integer schemes make of one.

One thread; random weights. The figures decide `Recurrent` on LiteRT's page (`narrowcast.targets.litert`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from time import perf_counter

import numpy as np
from measure import interleave, publish, table

SPELLINGS = {
    "one operator": {"lstm": 1, "light": 2**40},
    "a loop": {"many": 1},
    "unrolled": {"many": inf, "heavy": inf},
}
LAYERS = [(ways, units, steps) for ways in (1, 2) for units in (32, 64, 128, 256) for steps in (4, 16, 64)]
SCHEMES = ("float32", "float16", "dynamic_range", "int8", "int16x8")
LONG = (2, 64, 128)
ROUNDS = 800
SECTION = "Recurrent layers"


def network(folder: Path, ways: int, units: int, steps: int) -> Path:
    """An LSTM as PyTorch exports it: its directions come side by side."""
    from narrowcast.dialect.build import Builder
    from narrowcast.model import ir

    build, random = Builder.new("network"), np.random.default_rng(0)
    shapes = [(ways, 4 * units, units), (ways, 4 * units, units), (ways, 8 * units)]
    weights = [build.constant(random.normal(0, 0.1, shape).astype(np.float32), "weights") for shape in shapes]
    x = build.input("x", (steps, 1, units))
    direction = "bidirectional" if ways > 1 else "forward"
    y = build("LSTM", x, *weights, outputs=2, hidden_size=units, direction=direction)[0]
    y = build("Transpose", y, perm=[0, 2, 1, 3])
    y = build("Reshape", y, build.constant(np.array([steps, 1, ways * units]), "shape"))
    y.name, y.type, y.shape = "y", ir.TensorType(ir.DataType.FLOAT), ir.Shape([steps, 1, ways * units])
    ir.save(build.finish([y]), folder / "lstm.onnx")
    return folder / "lstm.onnx"


@contextmanager
def spelt(**policy: float) -> Iterator[None]:
    """LiteRT's page with another choice for floats."""
    from narrowcast.targets import litert
    from narrowcast.targets.rules import Recurrent

    page = litert.LITERT
    chosen = replace(page.storage["float32"], recurrent=Recurrent(**policy))
    litert.LITERT = replace(page, storage={**page.storage, "float32": chosen})
    try:
        yield
    finally:
        litert.LITERT = page


def watch(path: Path, *, xnnpack: bool) -> Callable[[], None]:
    """Runs a file on zeros."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    return interpreter.invoke


def microseconds(paths: dict[str, Path], *, xnnpack: bool) -> dict[str, str]:
    """The shortest of many runs, which others on the machine disturb least."""
    found = interleave({name: watch(path, xnnpack=xnnpack) for name, path in paths.items()}, ROUNDS)
    return {name: f"{min(timing.seconds) * 1e6:.0f}" for name, timing in found.items()}


def spellings(folder: Path) -> str:
    """The table of the three."""
    import narrowcast

    rows = []
    for ways, units, steps in LAYERS:
        source, paths, counts = network(folder, ways, units, steps), {}, []
        for name, policy in SPELLINGS.items():
            with spelt(**policy):
                made = narrowcast.save(narrowcast.load(source), folder / f"{name}.tflite", verify=False)
            paths[name] = made.path
            counts.append(str(narrowcast.inspect(made.path).operators.total))
        fast, plain = (microseconds(paths, xnnpack=engine) for engine in (True, False))
        rows.append([ways, units, steps, *(f"{fast[name]} ({plain[name]})" for name in paths), ", ".join(counts)])
        print(*rows[-1], sep=" | ", flush=True)
    return table(["directions", "units", "steps", *SPELLINGS, "operators"], rows)


def schemes(folder: Path) -> str:
    """The table of one long layer in all schemes."""
    import narrowcast

    _, units, steps = LONG
    source, random, rows = network(folder, *LONG), np.random.default_rng(1), []
    samples = [{"x": random.normal(size=(steps, 1, units)).astype(np.float32)} for _ in range(32)]
    for scheme in SCHEMES:
        start = perf_counter()
        model = narrowcast.quantize(narrowcast.load(source), scheme, data=samples[:16])
        seconds = perf_counter() - start
        made = narrowcast.save(model, folder / f"{scheme}.tflite", data=samples[16:])
        operators = narrowcast.inspect(made.path).operators.total
        fast, plain = (microseconds({"": made.path}, xnnpack=engine)[""] for engine in (True, False))
        ratio = f"{made.parity.sqnr_db:.1f}" if made.parity is not None else ""
        rows.append([scheme, f"{seconds:.2f}", ratio, operators, f"{made.bytes / 1000:.0f}", f"{fast} ({plain})"])
        print(*rows[-1], sep=" | ", flush=True)
    return table(["scheme", "seconds to quantise", "dB", "operators", "kB", "us"], rows)


def main() -> None:
    """Measures and publishes."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        publish(
            SECTION,
            "LSTMs of as many features as units, in float32: microseconds on one thread with XNNPACK, in brackets "
            f"without, in the three spellings.\n\n{spellings(folder)}\n\nBoth directions of {LONG[1]} units over "
            f"{LONG[2]} steps, calibrated on 16 samples:\n\n{schemes(folder)}",
        )


if __name__ == "__main__":
    main()
