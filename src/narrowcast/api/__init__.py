"""The public verbs. Each wires the rooms in a few lines, prints nothing, and tells its progress to a callback.

`load` reads, `quantize` makes a smaller model, `save` writes and verifies, `compare` does all of it for every scheme
and measures, `carry_out` for the trials that it is given; `inspect`, `bench` and `run` look at files.
"""

from narrowcast.api.comparing import carry_out, compare
from narrowcast.api.inspecting import inspect
from narrowcast.api.models import format_of, load, quantize, save
from narrowcast.api.options import CompareOptions, Data, DataOptions, FileOptions, PreprocessingOptions, Progress
from narrowcast.api.running import bench, run

__all__ = [
    "CompareOptions",
    "Data",
    "DataOptions",
    "FileOptions",
    "PreprocessingOptions",
    "Progress",
    "bench",
    "carry_out",
    "compare",
    "format_of",
    "inspect",
    "load",
    "quantize",
    "run",
    "save",
]
