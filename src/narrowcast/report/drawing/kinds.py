"""Kinds of operators, for colours: by what their names say, however a format spells them."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["KINDS", "kind_of"]

_PATTERNS = {
    "control": "if|loop|scan|while|call.*|case|.*composite|.*customcall",
    "recurrent": ".*lstm|.*gru|.*rnn|svdf",
    "quantisation": "(dynamic)?quantize.*|dequantize.*|fakequant.*|densify|cast(like)?|bitcast",
    "convolution": ".*conv(olution)?([123]d)?(integer|transpose.*)?|transposeconv|deformconv|depthwiseconv.*",
    "dense": ".*gemm|.*matmul.*|fullyconnected|einsum|attention|.*dotgeneral|embeddinglookup.*|.*attention.*",
    "pooling": ".*pool(2d|3d|1d)?.*",
    "normalisation": ".*norm(alization)?|lrn|.*normalizer|localresponse.*|lpnorm.*|meanvariance.*",
    "activation": ".*relu.*|.*sigmoid|logistic|tanh|.*swish|silu|gelu|mish|(log)?softmax|hardmax|.*elu|clip|softplus"
    "|softsign|erf|shrink",
    "reduction": "reduce.*|mean|sum|.*argm(ax|in)|argm.*|cumsum|topk(v2)?|.*suppression.*|any|all",
    "movement": "reshape|transpose|concat(enation)?|split(v)?|.*slice|.*gather.*|.*pad(v2)?|(un)?squeeze|flatten"
    "|expand.*|tile|.*tospace.*|.*todepth|.*tobatch.*|resize.*|upsample|pack|unpack|shape|size|range|constant.*|fill|where"
    "|broadcast.*|reverse.*|scatter.*|onehot|identity|.*iota|nonzero|compress|unique|rank|zeroslike|gridsample|.*unpool.*",
}
"""By kind, what an operator's name is in lower case and without underscores; the first that fits holds."""

KINDS = (*_PATTERNS, "arithmetic", "port")
"""All of them; "arithmetic" is what no pattern fits, "port" an input or output of the network."""


LONGEST = 64
"""Characters of a name that are looked at."""


@cache
def kind_of(operator: str) -> str:
    """The kind of an operator by its name, its domain left out."""
    name = (
        operator.rpartition("::")[2][:LONGEST]
        .lower()
        .replace("_", "")
        .removeprefix("stablehlo")
        .removeprefix("qlinear")
    )
    return next((kind for kind, pattern in _PATTERNS.items() if re.fullmatch(pattern, name)), "arithmetic")
