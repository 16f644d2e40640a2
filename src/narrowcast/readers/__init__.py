"""A file to a `Model` of ONNX operators: one package a format, and `formats`, the table of them."""
