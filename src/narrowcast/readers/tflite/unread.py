"""Builtin operators that are not read, and why: for messages, and for the page of coverage."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["UNREAD"]

_STRINGS = "it works on texts or tables of them, for which there are no tensors"
_RANDOM = "it gives other numbers each time, so that no file can be proven"
_ANCIENT = "no converter has written it since 2017, and runtimes have no kernel for it"
_BODY = "what it does is a graph of StableHLO, whose operators run on delegates only"

_REASONS: Mapping[str, str] = {
    _STRINGS: "HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE HASHTABLE_LOOKUP SKIP_GRAM LSH_PROJECTION",
    _RANDOM: "RANDOM_STANDARD_NORMAL RANDOM_UNIFORM MULTINOMIAL STABLEHLO_RNG_BIT_GENERATOR",
    _ANCIENT: "CONCAT_EMBEDDINGS",
    _BODY: """STABLEHLO_REDUCE STABLEHLO_REDUCE_WINDOW STABLEHLO_SCATTER STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_CASE
        STABLEHLO_COMPOSITE""",
    "no file with it has been met yet": "STABLEHLO_CONVOLUTION STABLEHLO_GATHER REDUCE_WINDOW",
    "it calls what only the program that made the file knows": "STABLEHLO_CUSTOM_CALL",
    "its weighted sums by computed places have no equivalent of known size": "EMBEDDING_LOOKUP_SPARSE",
    "it stands for others while a program runs, and is in no file": "DELEGATE",
    "it stands for no operator": "PLACEHOLDER_FOR_GREATER_OP_CODES",
}
UNREAD: Mapping[str, str] = {name: reason for reason, names in _REASONS.items() for name in names.split()}
"""The reason by the schema's name."""
