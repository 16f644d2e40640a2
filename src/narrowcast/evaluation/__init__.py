"""Data sets, preprocessing, metrics, parity and latency; what they find is in `results`, as frozen dataclasses."""
