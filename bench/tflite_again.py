"""Each .tflite file of the zoo written again in its own types: operators, what it computes, and how long that takes.

Custom operators are kept. One thread, LiteRT's default delegate, a photograph for what takes images.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measure import interleave, publish, table, zoo
from PIL import Image

ROUNDS = 30


def main() -> None:
    """Measures and publishes."""
    models = zoo() / "models"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(models.rglob("*.tflite")):
            name = str(path.relative_to(models).with_suffix(""))
            row = _row(path, Path(folder) / "again.tflite")
            if row is not None:
                rows.append([name, *row])
                print(*rows[-1], sep=" | ", flush=True)
    publish(
        "TFLite written again",
        "In its own types, inputs and outputs laid out as in the source, custom operators kept; the worst output\n"
        "beside that of the source, on LiteRT, equal: bit by bit. Milliseconds: one thread, the best inference.\n\n"
        + table(["", "operators", "TRANSPOSE", "DEQUANTIZE", "output", "before, ms", "after, ms"], rows),
    )


def _row(source: Path, written: Path) -> list[str] | None:
    """Counts before and after, and what a photograph or random numbers give; None for what does not run here."""
    import narrowcast
    from narrowcast import runtimes
    from narrowcast.errors import NarrowcastError

    try:
        before = runtimes.open(source, "litert")
        narrowcast.save(narrowcast.load(source, keep_custom=True), written, io_layout="source", verify=False)
    except NarrowcastError as error:
        print(f"{source.name}: {error}")
        return None
    after = runtimes.open(written, "litert")
    feed = {spec.name: _sample(spec.shape, spec.dtype) for spec in before.inputs}
    other = dict(zip((spec.name for spec in after.inputs), feed.values(), strict=True))
    wanted, found = before.run(feed), after.run(other)
    names = dict(zip(wanted, wanted if wanted.keys() == found.keys() else found, strict=True))
    worst = min(_decibels(wanted[a].astype(np.float64), found[b].astype(np.float64)) for a, b in names.items())
    times = interleave({"before": lambda: before.run(feed), "after": lambda: after.run(other)}, ROUNDS)
    counts = [runner.operators()[0] for runner in (before, after)]
    cells = [f"{sum(one.values())} -> {sum(two.values())}" for one, two in [counts]]
    cells += [f"{counts[0][kind]} -> {counts[1][kind]}" for kind in ("TRANSPOSE", "DEQUANTIZE")]
    cells.append("equal" if worst == np.inf else f"{worst:.0f} dB")
    return cells + [f"{1000 * min(timing.seconds):.2f}" for timing in times.values()]


def _sample(shape: tuple[int | None, ...], dtype: np.dtype) -> np.ndarray:
    sizes = tuple(dim or 1 for dim in shape)
    first = len(sizes) == 4 and sizes[1] in (1, 3, 4)
    height, width, channels = (*sizes[2:], sizes[1]) if first else sizes[1:] if len(sizes) == 4 else (0, 0, 0)
    if channels in (1, 3, 4) and min(height, width) >= 32:
        photo = Image.open(zoo() / "data/images/grace_hopper.jpg").convert("RGBA").resize((width, height))
        pixels = np.asarray(photo)[None, ..., :channels]
        pixels = pixels.transpose(0, 3, 1, 2) if first else pixels
        return np.ascontiguousarray(pixels.astype(np.float32) / 255 if dtype.kind == "f" else pixels.astype(dtype))
    random = np.random.default_rng(0)
    if dtype.kind == "f":
        return random.uniform(-1, 1, sizes).astype(dtype)
    return random.integers(0, 100, sizes).astype(dtype)


def _decibels(expected: np.ndarray, found: np.ndarray) -> float:
    noise = np.square(expected - found).sum()
    return np.inf if noise == 0 else 10 * np.log10(np.square(expected).sum() / noise)


if __name__ == "__main__":
    main()
