"""The table of TFLite's schema beside the bindings that LiteRT comes with."""

from __future__ import annotations

import inspect
import re

import pytest
from ai_edge_litert import schema_py_generated as bindings

from narrowcast.schemas.tflite import TFLITE

SOURCE = inspect.getsource(bindings)
CLASSES = dict(re.findall(r"^class (\w+)\(object\):\n((?:[ \n].*\n|\n)*)", SOURCE, re.MULTILINE))
ACCESSOR = re.compile(r"    def (\w+)\(self(, j)?\):\n((?:        .*\n)+)")


def facts(cls):
    """Field by slot as the accessors of a class tell it: name, kind, type, default."""
    found = {}
    for name, plural, body in ACCESSOR.findall(CLASSES[cls]):
        offset = re.search(r"Offset\((\d+)\)", body)
        if offset is None or re.search(r".(AsNumpy|Length|IsNone)$", name):
            continue
        number, table = (
            re.search(r"Get\(flatbuffers\.number_types\.(\w+)Flags", body),
            re.search(r"obj = (\w+)\(\)", body),
        )
        default = re.findall(r"return ([-\w.]+)$", body, re.MULTILINE)[-1]
        if number:
            kind, of = "number", number[1].lower()
        elif table and "Union" not in body:
            kind, of = "table", table[1]
        else:
            kind, of = ("string" if "String(" in body else "union"), ""
        standard = float({"None": 0, "True": 1, "False": 0}.get(default, default)) if kind == "number" else 0
        found[(int(offset[1]) - 4) // 2] = (name, kind + ("s" if plural else ""), of, standard)
    return found


def ours(row):
    camel = "".join(part[:1].upper() + part[1:] for part in row.name.split("_"))
    of = row.type if row.kind.startswith(("number", "table")) else ""
    return camel, row.kind, of, row.default


@pytest.mark.parametrize("name", sorted(TFLITE.types))
def test_tables(name):
    used = (row for row in TFLITE.types[name].fields.values() if not row.is_old)
    assert {row.slot: ours(row) for row in used} == facts(name)


def test_no_table_is_missing():
    there = {name for name, value in vars(bindings).items() if inspect.isclass(value) and hasattr(value, "GetRootAs")}
    assert there - set(TFLITE.types) == set()


@pytest.mark.parametrize("name", sorted(TFLITE.enums))
def test_enumerations(name):
    listed = {label: code for label, code in vars(getattr(bindings, name)).items() if isinstance(code, int)}
    assert TFLITE.enums[name].numbers == listed


def test_no_enumeration_is_missing():
    there = {
        name
        for name, value in vars(bindings).items()
        if inspect.isclass(value) and not name.endswith("T") and not hasattr(value, "GetRootAs")
    }
    assert there - set(TFLITE.enums) <= {"object"}
