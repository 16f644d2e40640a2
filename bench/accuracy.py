"""Top-1 of five spellings of one network in six schemes, and their operators."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import publish, table, zoo

SPELLINGS = (
    "mobilenet_v2.keras",
    "mobilenet_v2_keras2.h5",
    "mobilenet_v2_pytorch.onnx",
    "mobilenet_v2_keras_torch_export.onnx",
    "mobilenet_v2_tf2onnx.onnx",
)
HEADER = ("file", "", "MB", "top-1", "agreement", "translation, dB", "source, dB", "operators", "TRANSPOSE")
SCHEMES = ("float32", "float16", "dynamic_range", "int8", "full_int8", "int16x8")


def main() -> None:
    """Measures and publishes."""
    import narrowcast

    rows = []
    for spelling in SPELLINGS:
        with tempfile.TemporaryDirectory() as folder:
            found = narrowcast.compare(
                zoo() / "models" / spelling,
                zoo() / "data/imagenet_even",
                schemes=SCHEMES,
                threads=(2,),
                out=Path(folder),
                preprocess="tf",
                crop=0.875,
                label_offset=1,
            )
        for row in found.rows:
            accuracy, operators = row.accuracy, row.operators
            parity = row.written.parity if row.written else None
            rows.append(
                [
                    spelling if row.name == "source" else "",
                    row.name,
                    f"{row.bytes / 1e6:.2f}",
                    f"{accuracy.top1:.3f}" if accuracy and accuracy.top1 is not None else row.failure,
                    f"{accuracy.agreement:.3f}" if accuracy and accuracy.agreement is not None else "",
                    f"{parity.translation.sqnr_db:.1f}" if parity else "",
                    f"{parity.sqnr_db:.1f}" if parity else "",
                    operators.total if operators else "",
                    operators.transposes if operators else "",
                ]
            )
            samples = accuracy.samples if accuracy else 0
    publish(
        "Accuracy",
        f"MobileNetV2 1.0 224 from five files, on {samples} ImageNet photographs; calibrated on 128 others.\n\n"
        + table(
            ["file", "", "MB", "top-1", "agreement", "translation, dB", "source, dB", "operators", "TRANSPOSE"], rows
        ),
    )


if __name__ == "__main__":
    main()
