"""The networks of quantiser.py: their files, how they are read, their samples, and what they are judged by.

Every network has 128 samples to calibrate on, or fewer where there are fewer, and others to be tested on. An array of
samples is [samples, *shape of the input, batch axis included]. Photographs: the first 128 rows of imagenet_even
calibrate, and the others test classifiers; detectors are tested on all photographs beside it and 60 rows of it. Digits:
the first 128 calibrate, the next 2,000 test. Speech: the first half of a minute calibrates, the second tests.
"""

from __future__ import annotations

import csv
import json
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import quantiser_trained as trained
from measure import ROOT, zoo

Array = np.ndarray
Feeds = dict[str, Array]
DETECTORS = ROOT / "examples" / "detectors.py"
CALIBRATION = 128


@dataclass(frozen=True)
class Samples:
    """Arrays by input name, [samples, *shape]; class indices where they are known."""

    calibration: Feeds
    test: Feeds
    calibration_labels: Array | None = None
    test_labels: Array | None = None


@dataclass(frozen=True)
class Network:
    """A network to be quantised.

    Attributes:
        file: where it lies; made first, where the script trains it.
        samples: makes its samples.
        metrics: what files of it are judged by, the first one first; a name, a file's function, or a function.
        reading: options of `narrowcast.load`.
        streams: for networks with states: makes the frames that they are fed one after the other, states starting at 0.
        states: each input that is a state, and the output that is its next.
        learning: makes what fine-tuning learns from, and the classes; the calibration samples if None.
    """

    file: Callable[[], Path]
    samples: Callable[[], Samples]
    metrics: Sequence[str | Callable[..., Any]]
    reading: Mapping[str, Any] = field(default_factory=dict)
    streams: Callable[[], Iterator[Feeds]] | None = None
    states: Mapping[str, str] = field(default_factory=dict)
    learning: Callable[[], tuple[Feeds, Array]] | None = None


def _session(path: Path) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


# Photographs


def _opened(path: Path) -> Any:
    from PIL import Image

    return Image.open(path).convert("RGB")


def _central(path: Path, side: int) -> Array:
    """The central square of 0.875 of the short side, in whole pixels, resized bilinearly."""
    from PIL import Image

    image = _opened(path)
    width, height = image.size
    crop = int(min(width, height) * 0.875)
    left, top = (width - crop) // 2, (height - crop) // 2
    square = image.crop((left, top, left + crop, top + crop))
    return np.asarray(square.resize((side, side), Image.Resampling.BILINEAR))


def _stretched(path: Path, width: int, height: int) -> Array:
    from PIL import Image

    return np.asarray(_opened(path).resize((width, height), Image.Resampling.BILINEAR))


def _letterboxed(path: Path, width: int, height: int) -> Array:
    """At the upper left, its proportions kept, grey (114) elsewhere."""
    from PIL import Image

    image = _opened(path)
    ratio = min(width / image.width, height / image.height)
    size = round(image.width * ratio), round(image.height * ratio)
    filled = np.full((height, width, 3), 114, np.uint8)
    filled[: size[1], : size[0]] = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    return filled


@cache
def _rows() -> list[tuple[Path, int]]:
    folder = zoo() / "data/imagenet_even"
    with (folder / "labels.csv").open() as file:
        return [(folder / row["filename"], int(row["class_index"])) for row in csv.DictReader(file)]


def _first(array: Array) -> Array:
    """Channels first, float32."""
    return np.ascontiguousarray(np.moveaxis(array, -1, -3), np.float32)


def _between_ones(pixels: Array) -> Array:
    return pixels.astype(np.float32) / 127.5 - 1


def _torch(pixels: Array) -> Array:
    return _first((pixels / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225]))


def _split(name: str, values: Array, labels: Array | None, last: int | None = None) -> Samples:
    """The first samples calibrate, the others, up to `last`, test; a batch axis of 1 is added."""
    parts = slice(0, CALIBRATION), slice(CALIBRATION, last)
    known = (None, None) if labels is None else tuple(labels[part] for part in parts)
    return Samples({name: values[parts[0], None]}, {name: values[parts[1], None]}, *known)


def _imagenet(name: str, side: int, fit: Callable[[Array], Array], offset: int | None) -> Samples:
    """All photographs; without an offset of the classes they have no labels."""
    pixels = np.stack([_central(path, side) for path, _ in _rows()])
    labels = None if offset is None else np.array([label for _, label in _rows()]) + offset
    return _split(name, fit(pixels), labels)


def _detection(name: str, read: Callable[[Path], Array], fit: Callable[[Array], Array]) -> Samples:
    even = [path for path, _ in _rows()]
    real = [*sorted((zoo() / "data/images").glob("*.jpg")), *sorted((zoo() / "data/images_ccby").glob("*.jpg"))]
    calibration, test = even[:CALIBRATION], [*real, *even[CALIBRATION : CALIBRATION + 60]]
    parts = [fit(np.stack([read(path) for path in paths]))[:, None] for paths in (calibration, test)]
    return Samples({name: parts[0]}, {name: parts[1]})


def _cifar(name: str, fit: Callable[[Array], Array]) -> Samples:
    images, labels = trained.cifar()
    return _split(name, fit(images), labels)


def _digits(name: str, fit: Callable[[Array], Array], channel: bool = True) -> Samples:
    images, labels = trained.digits()
    images = images[:, None] if channel else images
    return _split(name, fit(images.astype(np.float32)).astype(np.float32), labels, CALIBRATION + 2000)


def _faces(name: str) -> Samples:
    """Square crops around the faces that UltraFace finds, a quarter wider than their boxes, of 192 pixels in 0..1.

    Faces of the first half of the photographs calibrate, the others test.
    """
    from PIL import Image

    session = _session(zoo() / "models/detection/ultraface_rfb320_post.onnx")
    real = [*sorted((zoo() / "data/images").glob("*.jpg")), *sorted((zoo() / "data/images_ccby").glob("*.jpg"))]
    paths = [path for path, _ in _rows()]
    halves: list[list[Array]] = [[], []]
    for number, path in enumerate([*paths, *real]):
        pixels = _first((_stretched(path, 320, 240).astype(np.float32) - 127) / 128)
        scores, boxes = session.run(["scores", "boxes"], {"input": pixels[None]})
        image = _opened(path)
        order = np.argsort(-scores[0, :, 1])
        kept: list[Array] = []
        for index in order[scores[0, order, 1] > 0.7][:50]:
            box = boxes[0, index] * np.tile(image.size, 2)
            centre, side = (box[:2] + box[2:]) / 2, 1.25 * (box[2:] - box[:2]).max()
            if side < 40 or any(np.abs(centre - other).max() < side / 2 for other in kept):
                continue
            kept.append(centre)
            corners = [*(centre - side / 2), *(centre + side / 2)]
            crop = image.crop([round(float(corner)) for corner in corners]).resize(
                (192, 192), Image.Resampling.BILINEAR
            )
            halves[number >= len(paths) // 2].append(np.asarray(crop, np.float32) / 255)
    calibration, test = (np.stack(half)[:, None] for half in halves)
    return Samples({name: calibration[:CALIBRATION]}, {name: test})


# Speech


@cache
def speech() -> Array:
    """A minute at 16 kHz, in -1..1."""
    with wave.open(str(zoo() / "data/audio/speech_60s_16k.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


def _thinned(values: Sequence[Any] | Array, count: int = 128) -> Any:
    """At most so many, from beginning to end."""
    return values[:: max(len(values) // count, 1)][:count]


def _halves(feeds: Sequence[Feeds]) -> Samples:
    half = len(feeds) // 2
    parts = [
        {name: np.stack([feed[name] for feed in _thinned(part)]) for name in feeds[0]}
        for part in (feeds[:half], feeds[half:])
    ]
    return Samples(*parts)


def _fed_back(path: Path, frames: Iterator[Feeds], states: Mapping[str, tuple[int, ...]], fixed: Feeds) -> list[Feeds]:
    """Feeds of a network whose last outputs are its next states, as it runs over frames."""
    session, feeds = _session(path), []
    held: Feeds = {name: np.zeros(shape, np.float32) for name, shape in states.items()}
    for frame in frames:
        feeds.append({**frame, **held})
        found = session.run(None, {**frame, **held, **fixed})
        held = dict(zip(held, found[-len(held) :], strict=True))
    return feeds


STATE = (1, 2, 128, 2)
HOP = 128
DTLN_FRAMES = 4096


def _magnitudes(samples: Array, most: int | None = None) -> Iterator[Feeds]:
    """Spectra of frames of 512 samples, as DTLN's first stage takes them."""
    for start in range(0, len(samples) - 512, HOP)[:most]:
        yield {"input_2": np.abs(np.fft.rfft(samples[start : start + 512])).astype(np.float32)[None, None]}


def _masked(samples: Array, most: int | None = None) -> Iterator[Feeds]:
    """Frames that DTLN's first stage has masked, as the second one takes them."""
    session, state = _session(zoo() / "models/audio/dtln_1.onnx"), np.zeros(STATE, np.float32)
    for start in range(0, len(samples) - 512, HOP)[:most]:
        spectrum = np.fft.rfft(samples[start : start + 512])
        found = session.run(None, {"input_2": np.abs(spectrum).astype(np.float32)[None, None], "input_3": state})
        mask, state = found
        yield {"input_4": np.fft.irfft(spectrum * mask[0, 0]).astype(np.float32)[None, None]}


def _dtln(stage: int) -> Samples:
    frames = (_magnitudes if stage == 1 else _masked)(speech(), DTLN_FRAMES)
    states = {"input_3" if stage == 1 else "input_5": STATE}
    return _halves(_fed_back(zoo() / f"models/audio/dtln_{stage}.onnx", frames, states, {}))


def _second_half(frames: Callable[[Array], Iterator[Feeds]]) -> Iterator[Feeds]:
    """Frames of 30 seconds that nothing was calibrated on."""
    return frames(speech()[len(speech()) // 2 :])


def _windows_with_context(samples: Array) -> Iterator[Feeds]:
    """Windows of 512 samples behind 64 of the last one, as Silero's detector takes them."""
    padded = np.concatenate([np.zeros(64, np.float32), samples])
    for start in range(0, len(padded) - 576, 512):
        yield {"input": padded[start : start + 576][None]}


def _ifless() -> Samples:
    path, fixed = zoo() / "models/silero_vad_op18_ifless.onnx", {"sr": np.array(16000)}
    return _halves(_fed_back(path, _windows_with_context(speech()), {"state": (2, 1, 128)}, fixed))


def _windows(name: str, length: int, hop: int, most: int = 128) -> Samples:
    samples = speech()
    windows = np.stack([samples[start : start + length] for start in range(0, len(samples) - length + 1, hop)])
    half = len(samples) // 2 // hop
    calibration, test = windows[: half - length // hop], windows[half:]
    return Samples({name: _thinned(calibration)[:, None]}, {name: _thinned(test, most)[:, None]})


# Phonemes


def _phonemes() -> Samples:
    """Steps of greedy decoding at 8 letters and 5 phonemes, the shapes that a static file has."""
    symbols = json.loads((zoo() / "data/g2p/symbols.json").read_text())
    letters = {letter: index for index, letter in enumerate(symbols["graphemes"])}
    session, feeds = _session(zoo() / "models/text/g2p_en_arpabet.onnx"), []
    with (zoo() / "data/g2p/cmudict_500.csv").open() as file:
        words = [row["word"] for row in csv.DictReader(file) if len(row["word"]) >= 6]
    for word in words:
        source = np.array([[letters[letter] for letter in (word * 2)[:8]]], np.int32)
        told, place = [2], 0
        while place < 8 and len(told) < 48:
            feed = {"src": source, "tgt": np.array([told], np.int32), "t": np.array([place], np.int32)}
            found = int(session.run(None, feed)[0][0])
            if len(told) == 5:
                feeds.append(feed)
            if found == 2:
                place += 1
            else:
                told.append(found)
    order = np.random.default_rng(0).permutation(len(feeds))
    parts = [
        {name: np.stack([feeds[index][name] for index in some]) for name in feeds[0]}
        for some in (order[:128], order[128:428])
    ]
    return Samples(*parts)


# Metrics that are these networks' own


def equal(source: Feeds, file: Feeds, _label: int | None, _sample: Feeds) -> float:
    """Share of samples whose first output is the same."""
    return float(np.array_equal(next(iter(source.values())), next(iter(file.values()))))


def pixels(source: Feeds, file: Feeds, _label: int | None, _sample: Feeds) -> float:
    """Mean distance of landmarks in pixels, negative, as more is better."""
    marks = [next(iter(outputs.values())).reshape(-1, 3)[:, :2] for outputs in (source, file)]
    return -float(np.linalg.norm(marks[0] - marks[1], axis=1).mean())


def _zoo(name: str) -> Callable[[], Path]:
    return lambda: zoo() / "models" / name


def _normalised_digits(pixels: Array) -> Array:
    return (pixels / 255 - np.float32(0.1307)) / np.float32(0.3081)


def _mnist_lstm() -> Samples:
    return _digits("fixed_input", lambda pixels: pixels / 255, channel=False)


CLASSES, BOXES = ("top1", "agree", "sqnr"), partial("{}:{}".format, DETECTORS)

NETWORKS: dict[str, Network] = {
    "mobilenet_v2": Network(
        _zoo("mobilenet_v2_pytorch.onnx"),
        lambda: _imagenet("image", 224, lambda x: _first(_between_ones(x)), 1),
        CLASSES,
    ),
    "mobilenet_v2.keras": Network(
        _zoo("mobilenet_v2.keras"), lambda: _imagenet("input_layer_1", 224, _between_ones, 1), CLASSES
    ),
    "squeezenet1.1": Network(
        _zoo("squeezenet1.1_float.onnx"),
        lambda: _imagenet("image", 227, lambda x: _first(x[..., ::-1] - np.array([104.0, 117, 123])), 0),
        CLASSES,
    ),
    "cifar10_resnet20": Network(_zoo("cifar10_resnet20.onnx"), lambda: _cifar("image", _torch), CLASSES),
    "tiny_resnet8": Network(
        _zoo("tiny_resnet8_cifar10_keras2.h5"), lambda: _cifar("input_1", lambda x: x.astype(np.float32)), CLASSES
    ),
    "tiny_vww": Network(
        _zoo("tiny_vww_mobilenet_keras2.h5"),
        lambda: _imagenet("input_1", 96, lambda x: x.astype(np.float32) / 255, None),
        ("agree", "sqnr"),
    ),
    "mnist8": Network(_zoo("mnist/cnn_mnist8.onnx"), lambda: _digits("Input3", lambda x: x), CLASSES),
    "mnist_bn": Network(_zoo("mnist/cnn_bn_pytorch.onnx"), lambda: _digits("input.1", _normalised_digits), CLASSES),
    "yolox_nano": Network(
        _zoo("yolox_nano.onnx"),
        lambda: _detection("images", lambda path: _letterboxed(path, 416, 416), lambda x: _first(x[..., ::-1])),
        (BOXES("yolox"), "sqnr"),
    ),
    "fastestdet": Network(
        _zoo("fastestdet_coco.onnx"),
        lambda: _detection("input.1", lambda path: _stretched(path, 352, 352), lambda x: _first(x[..., ::-1] / 255.0)),
        (BOXES("fastestdet"), "sqnr"),
    ),
    **{
        f"ultraface_{kind}": Network(
            _zoo(f"detection/ultraface_rfb320_{kind}.onnx"),
            lambda: _detection(
                "input", lambda path: _stretched(path, 320, 240), lambda x: _first((x.astype(np.float32) - 127) / 128)
            ),
            (BOXES("ultraface_raw" if kind == "raw" else "ultraface"), "sqnr"),
        )
        for kind in ("raw", "post")
    },
    "dtln_1": Network(
        _zoo("audio/dtln_1.onnx"),
        lambda: _dtln(1),
        ("sqnr",),
        {},
        lambda: _second_half(_magnitudes),
        {"input_3": "tf_op_layer_stack_2"},
    ),
    "dtln_2": Network(
        _zoo("audio/dtln_2.onnx"),
        lambda: _dtln(2),
        ("sqnr",),
        {},
        lambda: _second_half(_masked),
        {"input_5": "tf_op_layer_stack_5"},
    ),
    "silero_micro": Network(
        _zoo("audio/silero_vad_2021_micro_transformer.onnx"),
        lambda: _windows("input", 4000, 1600),
        ("agree", "sqnr"),
        {"input_shapes": {"input": (1, 4000)}},
    ),
    "silero_ifless": Network(
        _zoo("silero_vad_op18_ifless.onnx"),
        _ifless,
        ("sqnr",),
        {"freeze": {"sr": 16000.0}, "input_shapes": {"input": (1, 576), "state": (2, 1, 128)}},
        lambda: _second_half(_windows_with_context),
        {"state": "stateN"},
    ),
    "g2p": Network(
        _zoo("text/g2p_en_arpabet.onnx"), _phonemes, (equal,), {"input_shapes": {"src": (1, 8), "tgt": (1, 5)}}
    ),
    "face_landmark": Network(_zoo("mediapipe_face_landmark.tflite"), lambda: _faces("input_1"), (pixels, "sqnr")),
    "kwt1": Network(_zoo("kws/kwt1_float.tflite"), lambda: _windows("input_1", 16000, 1600, 300), ("agree", "sqnr")),
    "mnist_lstm": Network(_zoo("tflm_mnist_lstm_float.tflite"), _mnist_lstm, CLASSES),
    **{
        name: Network(
            partial(trained.network, name), partial(trained.samples, name, Samples), CLASSES, learning=trained.learning
        )
        for name in trained.NETWORKS
    },
}
