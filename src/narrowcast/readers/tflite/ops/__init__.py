"""One function per operator of TFLite, by family; each emits what it computes in ONNX's operators."""
