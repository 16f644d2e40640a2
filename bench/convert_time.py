"""Whole processes, warm: an ONNX network to a float32 .tflite, with and without verification, beside onnx2tf.

NARROWCAST_BENCH_ONNX2TF names the onnx2tf program of its own environment.
"""

from __future__ import annotations

from measure import NARROWCAST, alternate, peer, publish, table, zoo


def main() -> None:
    """Measures and publishes."""
    source = zoo() / "models/mobilenet_v2_pytorch.onnx"
    model = source.name
    plain = [NARROWCAST, "convert", model, "-o", "out.tflite", "--quiet"]
    commands = {"narrowcast, not verified": [*plain, "--no-verify"], "narrowcast, verified": plain}
    onnx2tf = peer("NARROWCAST_BENCH_ONNX2TF")
    if onnx2tf:
        commands["onnx2tf, not verified"] = [onnx2tf, "-i", model, "-o", "out", "-n"]
        commands["onnx2tf, verified"] = [onnx2tf, "-i", model, "-o", "out", "-n", "-ewo", "-ens", "4"]
    found = alternate(commands, files=[source])
    rows = [[name, timing, _ratio(name, found)] for name, timing in found.items()]
    publish(
        "ONNX to float32 TFLite",
        "MobileNetV2 1.0 224, whole processes, alternated, warm; median of 5 (lowest to highest).\n\n"
        + table(["", "seconds", "ratio to the peer"], rows),
    )


def _ratio(name: str, found: dict) -> str:
    other = found.get(name.replace("narrowcast", "onnx2tf"))
    return f"{found[name].median / other.median:.2f}" if name.startswith("narrowcast") and other else ""


if __name__ == "__main__":
    main()
