"""LiteRT, which runs TFLite files.

`kernels` says what it runs, `integers` how operators are quantised, the row here the rest.
"""

from __future__ import annotations

from narrowcast.model import Layout
from narrowcast.targets.groups import BIAS
from narrowcast.targets.litert.integers import INTEGERS
from narrowcast.targets.litert.kernels import KERNELS
from narrowcast.targets.rules import Recurrent, Storage, Target

__all__ = ["LITERT"]

_ACTIVATIONS = frozenset({"Relu", "Clip(0,6)", "Clip(-1,1)"})

_RECURRENT = Recurrent(lstm=5, rnn=128, light=2**16)
"""Of float weights: the kernels take int8 ones too, but XNNPACK's dense layers are two to five times as fast.

A step of a loop costs about 3 us more than an unrolled one, and less for the weights as soon as all their copies are
more than the cache. With 1 MB of it: 200 steps of 128 units in both directions take 5.6 ms for 17.4, in 187 operators
for 4,800, and are converted in 0.3 s for 7.5; a transducer of four layers with 64 and 128 units takes 1.5 ms for 2.8
over 16 and 32 steps; but 64 steps of 32 units alone 0.31 ms for 0.14.
"""

_INT8_RECURRENT = Recurrent(cache=2**22)
"""Of int8 weights: copies of 4 MB for all steps are as fast as one that stays in the cache (`bench/recurrent.py`)."""

LITERT = Target(
    "litert",
    title="LiteRT",
    rank=8,
    layout=Layout.CHANNELS_LAST,
    kernels=KERNELS,
    floats=frozenset({"float32"}),
    storage={
        "float32": Storage(recurrent=_RECURRENT),
        "float16": Storage(weights="float16", recurrent=_RECURRENT),
        "dynamic_range": Storage(weights="int8", recurrent=_INT8_RECURRENT),
        "weight_only": Storage(weights="int8", explicit=True, recurrent=_RECURRENT),
        "int8": Storage("int8", "int8", "int32", recurrent=_INT8_RECURRENT),
        "full_int8": Storage("int8", "int8", "int32", recurrent=_INT8_RECURRENT),
        "int16x8": Storage("int16", "int8", "int32", symmetric=True, recurrent=_INT8_RECURRENT),
        "int8_pow2": Storage("int8", "int8", "int32", symmetric=True, powers=True, recurrent=_INT8_RECURRENT),
    },
    kept={"uint8": Storage("uint8", "uint8", "int32", narrow=False)},
    fuses={
        **dict.fromkeys(
            ["Conv", "ConvTranspose", "Gemm", "Add", "Sub", "Mul", "Div", "MaxPool", "AveragePool"], _ACTIVATIONS
        ),
        "MatMul": _ACTIVATIONS | {BIAS},
    },
    integers=INTEGERS,
)
