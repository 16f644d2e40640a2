"""The public verbs. Each wires the rooms in a few lines, prints nothing, and tells its progress to a callback.

`load` reads, `quantize` makes a smaller model, `dequantize` a float one again, `save` writes and verifies, `compare`
does all of it for every scheme and measures, `carry_out` for the trials that it is given, `tune` looks for the best
trial; `inspect`, `bench` and `run` look at files. A verb's module is imported on its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from narrowcast._extras import on_first_use

if TYPE_CHECKING:
    from narrowcast.api.comparing import carry_out, compare
    from narrowcast.api.diagnosing import diff
    from narrowcast.api.differing import compare_networks
    from narrowcast.api.finetuning import finetune, from_torch, to_torch
    from narrowcast.api.inspecting import inspect
    from narrowcast.api.models import dequantize, format_of, load, quantize, save
    from narrowcast.api.options import CompareOptions, Data, DataOptions, FileOptions, PreprocessingOptions, Progress
    from narrowcast.api.parameters import extract_parameters, replace_parameters
    from narrowcast.api.reducing import reduce_model
    from narrowcast.api.running import bench, run
    from narrowcast.api.transcribing import transcribe, transcribes
    from narrowcast.api.tuning import tune
    from narrowcast.tuning.recipe import read_recipe

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
    "compare_networks",
    "dequantize",
    "diff",
    "extract_parameters",
    "finetune",
    "format_of",
    "from_torch",
    "inspect",
    "load",
    "quantize",
    "read_recipe",
    "reduce_model",
    "replace_parameters",
    "run",
    "save",
    "to_torch",
    "transcribe",
    "transcribes",
    "tune",
]

__getattr__ = on_first_use(
    globals(),
    {
        "narrowcast.api.comparing": ("carry_out", "compare"),
        "narrowcast.api.diagnosing": ("diff",),
        "narrowcast.api.differing": ("compare_networks",),
        "narrowcast.api.finetuning": ("finetune", "from_torch", "to_torch"),
        "narrowcast.api.inspecting": ("inspect",),
        "narrowcast.api.models": ("dequantize", "format_of", "load", "quantize", "save"),
        "narrowcast.api.options": (
            "CompareOptions",
            "Data",
            "DataOptions",
            "FileOptions",
            "PreprocessingOptions",
            "Progress",
        ),
        "narrowcast.api.parameters": ("extract_parameters", "replace_parameters"),
        "narrowcast.api.reducing": ("reduce_model",),
        "narrowcast.api.running": ("bench", "run"),
        "narrowcast.api.transcribing": ("transcribe", "transcribes"),
        "narrowcast.api.tuning": ("tune",),
        "narrowcast.tuning.recipe": ("read_recipe",),
    },
)
