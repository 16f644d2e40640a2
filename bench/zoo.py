"""Every Keras and ONNX network of the zoo, converted, verified, quantised to int8, beside onnx2tf: docs/zoo.md.

Labelled data gives accuracies, photographs and a minute of speech give signal-to-noise ratios. Networks with states are
fed with those that they had while listening to the speech.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from measure import NARROWCAST, ROOT, peer, table, zoo

PAGE = ROOT / "docs" / "zoo.md"
IMAGENET = {"preprocess": "tf", "crop": 0.875, "label_offset": 1}
PEER_SECONDS = 240


@dataclass(frozen=True)
class Network:
    """A file, what must be pinned to read it, and what it is fed with.

    Attributes:
        file: below the zoo's folder of models.
        load: arguments of `narrowcast.load`.
        data: "imagenet", "cifar10", "mnist" (labelled), "photographs", "speech" or "random".
        options: how the data becomes inputs.
        states: output by input, for the states of a recurrent network.
    """

    file: str
    load: Mapping[str, Any] = field(default_factory=dict)
    data: str = "photographs"
    options: Mapping[str, Any] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)


NETWORKS = (
    Network("mobilenet_v2.keras", data="imagenet", options=IMAGENET),
    Network("mobilenet_v2_keras2.h5", data="imagenet", options=IMAGENET),
    Network("mobilenet_v2_pytorch.onnx", data="imagenet", options=IMAGENET),
    Network("mobilenet_v2_keras_torch_export.onnx", data="imagenet", options=IMAGENET),
    Network("mobilenet_v2_tf2onnx.onnx", data="imagenet", options=IMAGENET),
    Network(
        "squeezenet1.1_float.onnx",
        data="imagenet",
        options={"mean": (104, 117, 123), "std": (1,), "channel_order": "bgr", "crop": 0.875},
    ),
    Network("tiny_resnet8_cifar10_keras2.h5", data="cifar10"),
    Network(
        "cifar10_resnet20.onnx",
        data="cifar10",
        options={"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    ),
    Network("mnist/cnn_mnist8.onnx", data="mnist"),
    Network("mnist/cnn_bn_pytorch.onnx", data="mnist", options={"scale": 1 / 255, "mean": 0.1307, "std": 0.3081}),
    Network("tiny_vww_mobilenet_keras2.h5", options={"scale": 1 / 255}),
    Network("yolox_nano.onnx", options={"preprocess": "none", "channel_order": "bgr"}),
    Network("fastestdet_coco.onnx", options={"scale": 1 / 255, "channel_order": "bgr"}),
    Network("detection/ultraface_rfb320_raw.onnx", options={"mean": (127,), "std": (128,)}),
    Network("detection/ultraface_rfb320_post.onnx", options={"mean": (127,), "std": (128,)}),
    Network(
        "ocr/ppocr_mobile_v1.1_det.onnx",
        {"input_shapes": {"image": (1, 3, 320, 320)}},
        options={"preprocess": "torch"},
    ),
    Network("super_resolution_x3.onnx", options={"scale": 1 / 255, "channel_order": "gray"}),
    Network("audio/dtln_1.onnx", data="speech", states={"input_3": "tf_op_layer_stack_2"}),
    Network("audio/dtln_2.onnx", data="speech", states={"input_5": "tf_op_layer_stack_5"}),
    Network("audio/silero_vad_2021_micro_transformer.onnx", {"input_shapes": {"input": (1, 4000)}}, "speech"),
    Network(
        "silero_vad_op18_ifless.onnx",
        {"input_shapes": {"input": (1, 576)}, "freeze": {"sr": 16000}},
        "speech",
        states={"state": "stateN"},
    ),
    Network("text/g2p_en_arpabet.onnx", {"input_shapes": {"src": (1, 8), "tgt": (1, 4)}}, "letters"),
)


@dataclass(frozen=True)
class Labelled:
    """Samples with labels: accuracies are measured on them."""

    data: Any
    options: Mapping[str, Any]


def labelled(network: Network, folder: Path) -> Labelled:
    """The data set of a classifier."""
    if network.data == "imagenet":
        return Labelled(zoo() / "data/imagenet_even", network.options)
    if network.data == "cifar10":
        with np.load(zoo() / "data/cifar10/cifar10_train_0000_0999.npz") as arrays:
            x, y = arrays["images"].astype(np.float32), arrays["labels"]
    else:
        files = [zoo() / f"data/mnist_t10k-{part}-ubyte.gz" for part in ("images-idx3", "labels-idx1")]
        images, labels = (gzip.decompress(file.read_bytes()) for file in files)
        x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1).astype(np.float32)
        y = np.frombuffer(labels, np.uint8, offset=8)
    scale, mean, std = (np.float32(network.options.get(key, default)) for key, default in DEFAULTS)
    x = (x * scale - mean) / std
    if network.file.endswith(".onnx"):
        x = x.transpose(0, 3, 1, 2)
    path = folder / "labelled.npz"
    np.savez(path, x=np.ascontiguousarray(x), y=y.astype(np.int64))
    return Labelled(path, {})


DEFAULTS = (("scale", 1.0), ("mean", 0.0), ("std", 1.0))


SPEECH_STARTS = 160_000
"""The sample of the recording at which someone speaks."""


def speech(network: Network, model: Any, count: int = 200) -> list[dict[str, np.ndarray]]:
    """Successive windows of speech, with the states that the network had when it came to them.

    DTLN's windows of 512 move by 128, and its first stage reads their spectrum; silero's hold 64 samples more.
    """
    from narrowcast.reference import Reference

    with wave.open(str(zoo() / "data/audio/speech_60s_16k.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    signal = next(spec for spec in model.inputs if spec.name not in network.states)
    feed = {spec.name: np.zeros(spec.shape, np.float32) for spec in model.inputs}
    size = int(np.prod(signal.shape))
    reference, feeds = Reference(model), []
    hop = {257: 128, 512: 128, 576: 512}.get(size, 1000)
    for start in range(SPEECH_STARTS, SPEECH_STARTS + count * hop, hop):
        window = samples[start : start + max(size, 512)]
        if size == 257:
            window = np.abs(np.fft.rfft(window[:512]))
        feed[signal.name] = window[:size].astype(np.float32).reshape(signal.shape)
        feeds.append(dict(feed))
        found = reference.run(feed)
        feed.update({name: found[output] for name, output in network.states.items()})
    return feeds


def letters(model: Any, count: int = 64) -> list[dict[str, np.ndarray]]:
    """Random words for the grapheme-to-phoneme network: its inputs are indices."""
    random = np.random.default_rng(0)
    highest = {"src": 26, "tgt": 30, "t": 8}
    return [
        {spec.name: random.integers(1, highest[spec.name], spec.shape).astype(np.int32) for spec in model.inputs}
        for _ in range(count)
    ]


def ours(network: Network, folder: Path) -> list[object]:
    """Operators, transposes, dB, seconds, and the figure in int8."""
    import narrowcast

    source, target = zoo() / "models" / network.file, folder / "float32.tflite"
    words = [f"--input={n}:{'x'.join(map(str, s))}" for n, s in network.load.get("input_shapes", {}).items()]
    words += [f"--freeze={name}={number}" for name, number in network.load.get("freeze", {}).items()]
    start = perf_counter()
    command = [NARROWCAST, "convert", str(source), "-o", str(target), "--no-verify", "--quiet", *words]
    subprocess.run(command, check=True)
    seconds = perf_counter() - start
    model = narrowcast.load(source, **network.load)
    if network.data in ("imagenet", "cifar10", "mnist"):
        data, options = (found := labelled(network, folder)).data, found.options
    elif network.data == "photographs":
        data, options = zoo() / "data/imagenet_even", network.options
    else:
        data, options = speech(network, model) if network.data == "speech" else letters(model), {}
    written = narrowcast.save(model, target, data=data, **options)
    small = narrowcast.save(
        narrowcast.quantize(model, "int8", data=data, **options), folder / "int8.tflite", data=data, **options
    )
    figure = f"{small.parity.sqnr_db:.1f} dB"
    if network.data in ("imagenet", "cifar10", "mnist"):
        rows = narrowcast.compare(
            source, data, out=folder / "out", schemes=("float32", "int8"), threads=(2,), verify=False, **options
        ).rows
        figure = "top-1 " + ", ".join(f"{row.accuracy.top1:.3f}" for row in rows)
    count = narrowcast.inspect(target).operators
    return [count.total, count.transposes, f"{written.parity.sqnr_db:.0f}", f"{seconds:.1f}", figure]


def theirs(program: str, network: Network, folder: Path) -> list[object]:
    """onnx2tf's operators, transposes and seconds, or what became of it."""
    import narrowcast
    from narrowcast import runtimes

    source = zoo() / "models" / network.file
    if source.suffix != ".onnx":
        return ["reads ONNX only", "", ""]
    source = Path(shutil.copyfile(source, folder / source.name))  # onnx2tf writes a simplified graph over its input
    shapes = network.load.get("input_shapes", {})
    words = [f"{name}:{','.join(map(str, shape))}" for name, shape in shapes.items()]
    command = [program, "-i", str(source), "-o", str(folder / "theirs"), "-n", *(["-ois", *words] if words else [])]
    start = perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PEER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return [f"not done after {PEER_SECONDS} s", "", ""]
    seconds = perf_counter() - start
    files = sorted((folder / "theirs").glob("*_float32.tflite"))
    if done.returncode or not files:
        return [f"fails (exit code {done.returncode})", "", f"{seconds:.1f}"]
    try:
        runtimes.open(files[0], "litert")
    except Exception:
        return ["LiteRT refuses the file", "", f"{seconds:.1f}"]
    count = narrowcast.inspect(files[0]).operators
    return [count.total, count.transposes, f"{seconds:.1f}"]


def rows(program: str | None, chosen: list[str]) -> Iterator[list[object]]:
    """A line of the table for each network."""
    for network in NETWORKS:
        if chosen and not any(word in network.file for word in chosen):
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            row = [network.file, *ours(network, folder), *(theirs(program, network, folder) if program else [])]
        print(*row, sep=" | ", flush=True)
        yield row


def main() -> None:
    """Measures, and writes the page unless networks are named as arguments."""
    from narrowcast.evaluation.machine import machine

    program, chosen = peer("NARROWCAST_BENCH_ONNX2TF"), sys.argv[1:]
    header = ["network", "operators", "TRANSPOSE", "dB", "s", "int8"]
    header += ["onnx2tf: operators", "TRANSPOSE", "s"] if program else []
    page = (
        "# The zoo\n\nReal trained networks, converted to float32 TFLite and verified beside the original file: "
        "signal-to-noise ratio in dB, seconds of the whole process without verification. The column *int8*: top-1 of "
        "the source, of the float32 file and of the int8 file on labelled data, or the int8 file's signal-to-noise "
        "ratio on photographs or speech.\n\nMade by `bench/zoo.py` on: " + machine() + ".\n\n"
    )
    page += table(header, list(rows(program, chosen))) + "\n"
    if not chosen:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
