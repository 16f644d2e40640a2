"""narrowcast: a trained network in, quantised TFLite files out, each proven on its own runtime.

    import narrowcast

    model = narrowcast.load("model.keras")
    small = narrowcast.quantize(model, "int8", data="calibration_images/")
    file = narrowcast.save(small, "model_int8.tflite")
    print(file.bytes, file.parity.sqnr_db)

The names below are the whole public interface. They are resolved on first use (PEP 562), so that importing the
package costs nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # typing itself takes longer to import than all that follows
if TYPE_CHECKING:
    from typing import Any

    from narrowcast.api import (
        Progress,
        bench,
        carry_out,
        compare,
        compare_networks,
        dequantize,
        diff,
        extract_parameters,
        finetune,
        from_torch,
        inspect,
        load,
        quantize,
        read_recipe,
        reduce_model,
        replace_parameters,
        run,
        save,
        to_torch,
        transcribe,
        tune,
    )
    from narrowcast.editing.parameters import Extraction
    from narrowcast.editing.reduction import Reduction
    from narrowcast.errors import (
        BadInputError,
        DataError,
        MissingExtraError,
        ModelFileError,
        NarrowcastError,
        OutputError,
        UnsupportedError,
        UnsupportedOpError,
        UsageError,
        VerificationError,
    )
    from narrowcast.evaluation.diagnosis.records import Diagnosis
    from narrowcast.evaluation.networks.differences import Differences
    from narrowcast.evaluation.networks.records import Network
    from narrowcast.evaluation.results import Benchmark, Comparison, Inspection, Prediction, WrittenFile
    from narrowcast.evaluation.trials import Trial
    from narrowcast.model import Model, Preprocessing
    from narrowcast.tuning.records import Tuning

    __version__: str

_HOMES = {
    "narrowcast.api": (
        "Progress",
        "bench",
        "carry_out",
        "compare",
        "compare_networks",
        "dequantize",
        "diff",
        "extract_parameters",
        "finetune",
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
        "tune",
    ),
    "narrowcast.editing.parameters": ("Extraction",),
    "narrowcast.editing.reduction": ("Reduction",),
    "narrowcast.errors": (
        "BadInputError",
        "DataError",
        "MissingExtraError",
        "ModelFileError",
        "NarrowcastError",
        "OutputError",
        "UnsupportedError",
        "UnsupportedOpError",
        "UsageError",
        "VerificationError",
    ),
    "narrowcast.evaluation.diagnosis.records": ("Diagnosis",),
    "narrowcast.evaluation.networks.differences": ("Differences",),
    "narrowcast.evaluation.networks.records": ("Network",),
    "narrowcast.evaluation.results": ("Benchmark", "Comparison", "Inspection", "Prediction", "WrittenFile"),
    "narrowcast.evaluation.trials": ("Trial",),
    "narrowcast.model": ("Model", "Preprocessing"),
    "narrowcast.tuning.records": ("Tuning",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BadInputError",
    "Benchmark",
    "Comparison",
    "DataError",
    "Diagnosis",
    "Differences",
    "Extraction",
    "Inspection",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "NarrowcastError",
    "Network",
    "OutputError",
    "Prediction",
    "Preprocessing",
    "Progress",
    "Reduction",
    "Trial",
    "Tuning",
    "UnsupportedError",
    "UnsupportedOpError",
    "UsageError",
    "VerificationError",
    "WrittenFile",
    "__version__",
    "bench",
    "carry_out",
    "compare",
    "compare_networks",
    "dequantize",
    "diff",
    "extract_parameters",
    "finetune",
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
    "tune",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("narrowcast")
    if name not in _HOME:
        raise AttributeError(f"module 'narrowcast' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
