"""Hand-made results that the report tests render."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from narrowcast.editing.parameters import Extraction, Parameter
from narrowcast.editing.reduction import Reduction
from narrowcast.evaluation.diagnosis.records import BlockLoss, Cause, Diagnosis, Histogram, OutputLoss, TensorLoss
from narrowcast.evaluation.networks.differences import Difference, Differences, Side
from narrowcast.evaluation.networks.records import Quantization
from narrowcast.evaluation.results import (
    Accuracy,
    Benchmark,
    Comparison,
    Guess,
    Inspection,
    Interval,
    Latency,
    Leg,
    OperatorCount,
    OutputParity,
    Parity,
    Prediction,
    Refusal,
    Row,
    Score,
    TensorFacts,
    WrittenFile,
)
from narrowcast.evaluation.trials import Trial
from narrowcast.tuning.records import Figures, Finalist, Goal, Tried, Tuning

_KINDS = (("CONV_2D", 35), ("DEPTHWISE_CONV_2D", 17), ("ADD", 10), ("MEAN", 1), ("FULLY_CONNECTED", 1), ("SOFTMAX", 1))
_FILES = (
    # scheme, bytes, top-1, top-5, agreement, ms on 1 and 2 threads, memory, operators, un-delegated, SQNR
    ("float32", 14_012_304, 0.860, 0.968, 1.000, 21.4, 11.9, 41_200_000, 65, 0, 128.4),
    ("float16", 7_043_912, 0.860, 0.968, 0.998, 21.5, 12.0, 48_900_000, 65, 0, 66.2),
    ("dynamic_range", 3_871_220, 0.858, 0.966, 0.974, 15.8, 9.1, 30_100_000, 65, 0, 27.3),
    ("int8", 3_998_144, 0.854, 0.964, 0.952, 10.6, 6.02, 24_500_000, 67, 1, 21.8),
    ("full_int8", 3_997_880, 0.854, 0.964, 0.952, 10.5, 5.98, 24_300_000, 65, 1, 21.8),
    ("int16x8", 4_087_500, 0.860, 0.968, 0.994, 812.0, 431.0, 29_700_000, 65, 65, 41.0),
)


def extraction() -> Extraction:
    kernel = Parameter("conv/W", "conv_W.npy", "conv", "Conv", "weight", (16, 3, 3, 3), "float32")
    return Extraction(Path("weights"), 1728, (kernel, Parameter("b", "b.npy", "", "Add", "operand", (), "float32")))


def reduction(*, is_minimal: bool = True) -> Reduction:
    return Reduction(
        path=Path("part.onnx"),
        bytes=512,
        command="check {}",
        outcome="exit code 3",
        nodes=2,
        source_nodes=365,
        operators=(("Conv", 1), ("Resize", 1)),
        inputs=(("features", (1, 64, 20, 20)),),
        outputs=(("up", (1, 64, 40, None)),),
        runs=31,
        is_minimal=is_minimal,
        random_weights=True,
    )


def parity(sqnr_db: float, threshold: float | None = None, warn: float | None = 15.0) -> Parity:
    return Parity(
        reference="onnxruntime 1.31.1, original file",
        runtime="LiteRT 2.3.0",
        samples=16,
        random_samples=False,
        translation=Leg((OutputParity("probabilities", 2e-7, 131.5, 1.0, 131.5),), 60.0),
        quantization=Leg(
            (OutputParity("probabilities", 10 ** (-sqnr_db / 20), sqnr_db, 0.98, sqnr_db),), threshold, warn
        ),
    )


def latency(threads: int, milliseconds: float) -> Latency:
    return Latency(threads, milliseconds / 1e3, milliseconds * 0.98e-3, milliseconds * 1.03e-3, 50)


def judged(unit: str, *, classifier: bool = False) -> Comparison:
    """As `comparison`, by a metric of a unit; without accuracies where no output scores classes."""
    result = comparison(failing=False)
    source, step = {"share": (1.0, 0.01), "dB": (float("inf"), 6.0), "": (-0.0, 0.2)}[unit]
    rows = []
    for number, row in enumerate(result.rows):
        value = 60.0 - step * number if unit == "dB" else source - step * number
        change = Interval(-step * number - step, -step * number + step)
        held = Score("near", value, 69, change if number and unit != "dB" else None, None, unit)
        if not number:
            held = Score("near", source, 69, None, None, unit)
        elif unit == "dB":
            held = replace(held, range=Interval(value - 1.5, value + 1.5))
        rows.append(replace(row, score=held, accuracy=row.accuracy if classifier else None))
    return replace(result, rows=tuple(rows), max_drop=0.02)


def written(scheme: str = "int8", size: int = 3_998_144, sqnr_db: float = 21.8, **changes: object) -> WrittenFile:
    threshold = {"float32": 60.0, "float16": 40.0}.get(scheme)
    path = Path(f"out/mobilenet_v2_{scheme}.tflite")
    notes = ("input 'image' is NHWC 224x224x3 here; the source has NCHW",)
    fields = {"parity": parity(sqnr_db, threshold, None if threshold else 15.0), "notes": notes, **changes}
    return WrittenFile(path, size, "tflite", scheme, **fields)  # type: ignore[arg-type]


def comparison(*, failing: bool = True, labelled: bool = True) -> Comparison:
    """MobileNetV2 in six schemes; with `failing`, the last scheme is a failure."""

    def accuracy(top1: float, top5: float, agreement: float | None) -> Accuracy:
        if not labelled:
            return Accuracy(500, None, None, agreement)
        change = None if agreement is None else Interval(round(top1 - 0.874, 3), round(top1 - 0.846, 3))
        return Accuracy(500, top1, top5, agreement, change)

    source = Row(
        "source",
        Path("mobilenet_v2.keras"),
        14_331_004,
        "onnxruntime 1.31.1",
        accuracy(0.860, 0.968, None),
        (latency(1, 24.8), latency(2, 14.1)),
        62_000_000,
        OperatorCount(100, None, 0, (("Conv", 52),)),
    )
    rows = [source]
    for scheme, size, top1, top5, agree, one, two, memory, count, slow, sqnr in _FILES:
        file = written(scheme, size, sqnr)
        rows.append(
            Row(
                scheme,
                file.path,
                size,
                "LiteRT 2.3.0",
                accuracy(top1, top5, agree),
                (latency(1, one), latency(2, two)),
                memory,
                OperatorCount(count, slow, 0, _KINDS),
                file,
            )
        )
    if failing:
        rows[-1] = Row("int16x8", rows[-1].path, 0, "", failure="conv_1: LiteRT has no 16x8 kernel for this operator")
    return Comparison(
        source=source.path,
        rows=tuple(rows),
        recommended="full_int8",
        reason="the fastest on 2 threads among the 4 files that lose at most 1 point of top-1; it loses 0.6 points",
        max_drop=0.01,
        data="500 images of imagenet_even, 1000 classes",
        calibration="128 images of calibration_images",
        machine="Intel Xeon, 2 cores, Linux 6.1",
        seconds=71.3,
        notes=("the first 128 images were set aside for calibration",),
    )


def formats() -> Comparison:
    """Two formats in three schemes, the second format a little slower; a third that nothing here runs."""
    base = comparison(failing=False)
    rows = [base.rows[0]]
    for fmt, slower in (("tflite", 1.0), ("onnx", 1.25), ("coreml", 0.0)):
        for row in base.rows[1:7:2]:
            trial = Trial(base.source, fmt, row.name)
            path = row.path.with_suffix(f".{fmt}")
            assert row.written is not None
            file = replace(row.written, path=path, format=fmt)
            made = replace(row, name=f"{row.name} {fmt}", path=path, trial=trial, written=file)
            if slower:
                times = tuple(latency(item.threads, item.median_s * slower * 1e3) for item in row.latencies)
                rows.append(replace(made, latencies=times))
            else:
                file = replace(file, parity=None, unverified_because="needs macOS")
                rows.append(
                    replace(made, runtime="", accuracy=None, latencies=(), peak_memory_bytes=None, operators=None,
                            written=file)
                )  # fmt: skip
    return replace(base, rows=tuple(rows), recommended="dynamic_range tflite")


def benchmark() -> Benchmark:
    return Benchmark(comparison().rows[1:4], "Intel Xeon, 2 cores, Linux 6.1")


def inspection() -> Inspection:
    return Inspection(
        path=Path("model.tflite"),
        bytes=3_998_144,
        format="tflite",
        producer="narrowcast 0.1.0",
        quantization="int8 weights and activations, float32 inputs and outputs",
        inputs=(TensorFacts("image", (None, 224, 224, 3), "int8", 0.0078125, -1),),
        outputs=(TensorFacts("probabilities", (1, 1001), "float32"),),
        operators=OperatorCount(65, 1, 0, _KINDS),
        parameters=3_540_265,
        parameter_types=(("int8", 3_469_760), ("int32", 141_300)),
        notes=("labels for 1001 classes in its metadata",),
        refusals=(Refusal("HardSwish", ("mul_3", "clip_7"), "the clipped value has a second consumer"),),
    )


def prediction() -> Prediction:
    guesses = (Guess(282, "tabby", 0.713), Guess(286, "Egyptian cat", 0.201), Guess(283, "", 0.0312))
    return Prediction(Path("m.tflite"), Path("cat.jpg"), guesses, "LiteRT 2.3.0", 0.0106, "RGB (x - 127.5) / 127.5")


def differences() -> Differences:
    sides = [
        Side(Path(name), size, "onnx", "hand", "as read", count, 640)
        for name, size, count in (("a.onnx", 9_000, 7), ("b.onnx", 4_000, 8))
    ]
    scale = Quantization((0.5,), (3,))
    return Differences(
        *sides,
        ports=(Difference(0, "x", "input", "shape", (1, 3, None), (2, 3, 8)),),
        types=(("Neg", 0, 1),),
        pairs=tuple((0, at, at) for at in range(7)),
        operators=(
            Difference(0, "stem/conv", "Conv", "attribute kernel_shape", (3, 3), None),
            Difference(0, "stem/conv", "Conv", "quantisation", None, scale),
            Difference(1, "inside", "Gemm", "B elements", None, None, 0.25, 12, 1.5),
        ),
        only_first=(),
        only_second=(("negate", "Neg"),),
        notes=("the formats differ",),
    )


def diagnosis() -> Diagnosis:
    """A stem that loses the negative lobe of its SiLU, and two blocks behind it."""
    before, after = (0, 3, 40, 900, 60, 2, 1, 0), (0, 0, 60, 890, 50, 4, 2, 0)
    histogram = Histogram(-66.3, 19.0, before, after, (-66.3, 85.7))
    stem = BlockLoss(
        name="stem/silu",
        nodes=("stem/conv",),
        kind="Conv + Sigmoid + Mul",
        sqnr_db=23.0,
        weights_db=38.9,
        rounding_db=23.1,
        above_db=float("inf"),
        share=0.873,
        tensors=(
            TensorLoss("stem/silu", 23.0, "int8", 0.34, -127, -0.28, 85.7, 24.0, histogram),
            TensorLoss("stem/conv", 25.0, "int8", 0.6, -17, -66.0, 85.7, 30.0, histogram),
        ),
        causes=(
            Cause("negative lobe", "the negative lobe of its activation rounds away", "--keep-float 'stem/conv'", 0.99),
            Cause("outliers", "0.1 % of its values hold 70 % of the range", "--observer percentile", 0.7),
        ),
        only_db=8.1,
        without_db=15.5,
    )
    neck = BlockLoss("neck", ("neck/conv",), "Conv + Relu", 7.0, 41.0, 31.5, 7.1, 0.1, (TensorLoss("neck", 7.0),))
    head = BlockLoss("head", ("head/conv",), "Conv", 6.5, None, 48.0, 6.6, 0.027, (TensorLoss("head", 6.5),))
    return Diagnosis(
        first="yolo.onnx",
        second="yolo_int8.tflite",
        scheme="int8",
        samples=4,
        data="4 of the 128 images in photographs",
        outputs=(OutputLoss("boxes", 6.5), OutputLoss("scores", float("inf"))),
        blocks=(stem, neck, head),
        worst=(0, 1, 2),
        unmatched=("resize",),
        notes=("images went in as pixels of 0..255",),
    )


def tuning() -> Tuning:
    """A search that kept two steps of four, one of which failed."""
    start = Trial(Path("models/net.onnx"), "tflite", "int8", {"held": 42})
    steps = (
        ("as asked for", "start", 8.5, 0.82, 1_000_000, 0.0),
        ("observer mse", "kept", 12.25, 0.91, 1_000_000, 0.0),
        ("repair bias", "refused", 11.0, 0.90, 1_020_000, 0.0),
        ("float32: stem/conv .. stem/mul", "kept", 21.0, 0.97, 1_100_000, 0.0625),
    )
    tried = tuple(
        Tried(label, start, verdict, Figures({"y": db}, db, metric, size, floats), seconds=1.5)
        for label, verdict, db, metric, size, floats in steps
    )
    failed = Tried("repair <b>", start, "failed", error="the package torch is missing")
    finals = tuple(
        Finalist(one.label, one.trial, one.figures, one.figures.bytes, Latency(1, 0.004 + k / 1e3, 0.004, 0.006, 50))
        for k, one in enumerate(one for one in tried if one.verdict != "refused")
    )
    return Tuning(
        source=Path("models/net.onnx"),
        tried=(*tried, failed),
        finalists=finals,
        chosen=tried[-1].label,
        written=written(),
        recipe=Path("net.tflite.recipe.yaml"),
        journal=Path("net.tflite.tune.jsonl"),
        goal=Goal(min_sqnr=20.0, least=0.95),
        reached=True,
        reason="the goal is reached",
        metric="agree",
        source_metric=1.0,
        fitted=86,
        held=42,
        seconds=61.0,
        notes=("images went in as pixels",),
    )
