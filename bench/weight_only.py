"""What weights alone cost: of 8 and 4 bits, a scale for each channel, for each tensor and for each block of inputs.

The first table is about the question of 2019: why a MobileNetV2 whose weights alone were quantised lost 30 points where
the wholly quantised one lost none. The second is about weights of 4 bits. Figures are those of the written files on
LiteRT, on samples that calibrated nothing.

`python bench/weight_only.py [NETWORK ...]` measures some networks of the second table and prints them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import publish, table
from quantiser_networks import NETWORKS, Samples

import narrowcast
from narrowcast import runtimes

Array = np.ndarray
PHOTOGRAPHS, OTHERS = 200, 500
"""Samples that test: of the first table's network, and of each of the second's at most."""
WAYS = {"weights alone": "weight_only", "hybrid": "dynamic_range", "all in int8": "int8"}
FOUR = ("tiny_resnet8", "cifar10_resnet20", "mnist8", "mnist_bn", "g2p", "mobilenet_v2")
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "float32": ("float32", {}),
    "weight_only 8": ("weight_only", {}),
    "weight_only 4": ("weight_only", {"weight_bits": 4}),
    "dynamic_range 8": ("dynamic_range", {}),
    "dynamic_range 4": ("dynamic_range", {"weight_bits": 4}),
    "dynamic_range 4, blocks of 32": ("dynamic_range", {"weight_bits": 4, "block_size": 32}),
    "int8 8": ("int8", {}),
    "int8 4": ("int8", {"weight_bits": 4}),
    "int8 4, --repair gptq": ("int8", {"weight_bits": 4, "repairs": ["gptq"]}),
}


def feeds(arrays: Mapping[str, Array], most: int) -> Iterator[dict[str, Array]]:
    """The first samples, one after the other."""
    for index in range(min(most, len(next(iter(arrays.values()))))):
        yield {name: array[index] for name, array in arrays.items()}


def outputs(path: Path, arrays: Mapping[str, Array], most: int) -> list[list[Array]]:
    """What a file gives, for each output [samples, numbers]."""
    runner = runtimes.open(path, "litert", threads=1)
    found = [list(runner.run(feed).values()) for feed in feeds(arrays, most)]
    runner.close()
    return [np.stack([row[place].reshape(-1) for row in found]).astype(np.float64) for place in range(len(found[0]))]


def made(name: str, scheme: str, options: Mapping[str, Any], samples: Samples, path: Path) -> None:
    """A file with the source's layout, proven on a few of the samples that calibrate."""
    network = NETWORKS[name]
    model = narrowcast.load(network.file(), **network.reading)
    data = list(feeds(samples.calibration, 128))
    if scheme != "float32":
        model = narrowcast.quantize(model, scheme, data=data if scheme == "int8" else None, **options)
    narrowcast.save(model, path, data=data, io_layout="source")


def decibels(wanted: list[Array], found: list[Array]) -> float:
    """SQNR of the worst output."""
    return min(
        float(10 * np.log10(np.square(one).sum() / max(np.square(one - other).sum(), 1e-30)))
        for one, other in zip(wanted, found, strict=True)
    )


def correct(found: list[Array], labels: Array | None, wanted: list[Array]) -> tuple[str, str]:
    """The share whose first class is right, and the share whose first class is the float file's."""
    first, float_first = found[0].argmax(1), wanted[0].argmax(1)
    right = "" if labels is None else f"{(first == labels[: len(first)]).mean():.3f}"
    return right, f"{(first == float_first).mean():.3f}"


def riddle(folder: Path) -> str:
    """The first table."""
    name = "mobilenet_v2.keras"
    samples = NETWORKS[name].samples()
    made(name, "float32", {}, samples, folder / "float.tflite")
    wanted = outputs(folder / "float.tflite", samples.test, PHOTOGRAPHS)
    rows = [["float32", "", *correct(wanted, samples.test_labels, wanted), ""]]
    for way, scheme in WAYS.items():
        for weights in ("per-channel", "per-tensor"):
            path = folder / f"{scheme}_{weights}.tflite"
            made(name, scheme, {"weights": weights}, samples, path)
            found = outputs(path, samples.test, PHOTOGRAPHS)
            rows.append([way, weights, *correct(found, samples.test_labels, wanted), f"{decibels(wanted, found):.1f}"])
            print(rows[-1], file=sys.stderr, flush=True)
    return table(("what is int8", "scales of weights", "top-1", "agreement", "dB"), rows)


def four_bits(names: tuple[str, ...], folder: Path) -> str:
    """The second table."""
    rows: list[list[str]] = []
    for name in names:
        samples, wanted, labels = NETWORKS[name].samples(), [], None
        most = PHOTOGRAPHS if name.startswith("mobilenet") else OTHERS
        for number, (title, (scheme, options)) in enumerate(VARIANTS.items()):
            path = folder / f"{name}_{number}.tflite"
            try:
                made(name, scheme, options, samples, path)
            except narrowcast.VerificationError as error:
                rows.append(["", title, "", error.what, "", ""])
                continue
            found = outputs(path, samples.test, most)
            wanted = wanted or found
            labels = samples.test_labels
            quality = "" if title == "float32" else f"{decibels(wanted, found):.1f}"
            size = f"{path.stat().st_size / 1e6:.3f}"
            rows.append([name if not number else "", title, size, *correct(found, labels, wanted), quality])
            print(rows[-1], file=sys.stderr, flush=True)
    return table(("network", "scheme, bits of weights", "MB", "top-1", "agreement", "dB"), rows)


def main(names: tuple[str, ...]) -> None:
    """Measures, and publishes where no networks are named."""
    with tempfile.TemporaryDirectory() as made_here:
        folder = Path(made_here)
        if names:
            print(four_bits(names, folder))
            return
        publish(
            "Weights alone",
            f"mobilenet_v2.keras on {PHOTOGRAPHS} photographs, calibrated on 128 others (bench/weight_only.py):\n\n"
            + riddle(folder)
            + "\n\nWeights of 8 and 4 bits, rounded to the nearest, at most 500 samples that test:\n\n"
            + four_bits(FOUR, folder),
        )


if __name__ == "__main__":
    main(tuple(sys.argv[1:]))
