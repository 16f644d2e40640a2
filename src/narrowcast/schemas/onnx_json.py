"""ONNX files as JSON, in protocol buffers' own mapping, and back.

The mapping: https://protobuf.dev/programming-guides/json. Names of fields are in lowerCamelCase, 64-bit integers are
strings, bytes base64, "NaN" and "Infinity" such floats; read are names as in onnx.proto and integers, too. Weights
beside the file are ONNX's external data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrowcast.errors import ModelFileError, NarrowcastError, did_you_mean, shown
from narrowcast.schemas import jsontext, onnx_file
from narrowcast.schemas.jsontext import item, key

if TYPE_CHECKING:
    import onnx

__all__ = ["from_binary", "load", "placed", "retell", "to_binary"]

LEAST_BESIDE = 1024
"""Bytes of a tensor that lies beside a file which cannot hold all."""
_REFUSALS = (TypeError, ValueError, ArithmeticError, RecursionError, SystemError)
"""What protocol buffers raise beside their own error; the last one at half a character in a key."""
_NUMBER = "a number"
_WORDS = {
    1: _NUMBER,
    2: _NUMBER,
    3: "a 64-bit integer",
    4: "a 64-bit integer from 0 up",
    5: "a 32-bit integer",
    8: "true or false",
    9: "a text",
    12: "base64",
}
"""What the fields of each type take, by protocol buffers' numbers (FieldDescriptorProto.Type)."""


def from_binary(source: Path, destination: Path, inline_limit: int | None = None) -> tuple[str, ...]:
    """Writes a file as JSON.

    Args:
        source: an ONNX file; its external data are taken in.
        destination: the JSON file.
        inline_limit: bytes of a tensor beyond which its elements lie in `<destination>.data`; None for never.

    Returns:
        What the user should know.

    Raises:
        ModelFileError: it is no ONNX file, its external data are not there, or its JSON would be too large.
    """
    from google.protobuf.json_format import MessageToDict

    proto = onnx_file.parse(source)
    _check_texts(proto)
    known = onnx_file.without_unknown(proto)
    if inline_limit is None and (size := onnx_file.total_bytes(proto) * 4 // 3) > jsontext.LARGEST:
        raise ModelFileError(f"would be {size / 2**30:.1f} GiB of JSON", hint=jsontext.ASIDE)
    onnx_file.place(proto, source.parent, destination, inline_limit)
    with destination.open("w", encoding="utf-8") as file:
        for part in json.JSONEncoder(indent=2).iterencode(MessageToDict(proto)):
            file.write(part)
        file.write("\n")
    return () if known else ("fields that ONNX does not know here are left out",)


def _check_texts(proto: onnx.ModelProto) -> None:
    """Refuses bytes, which protocol buffers hand out where a text is none."""
    for message in onnx_file.messages(proto):
        for field, value in message.ListFields():
            if field.type == field.TYPE_STRING and not all(isinstance(one, str) for one in _listed(field, value)):
                what = f"a {field.name} of a {message.DESCRIPTOR.name} is no UTF-8 text"
                raise ModelFileError(what, hint="the file is damaged; copy or export it again")


def _listed(field: Any, value: Any) -> Any:
    """The values of a field, of which most have but one."""
    return value if isinstance(field.default_value, list) else [value]


def to_binary(source: Path, destination: Path) -> tuple[str, ...]:
    """Writes JSON as an ONNX file, which holds its weights itself unless they are more than protocol buffers can.

    Returns:
        What the user should know.

    Raises:
        ModelFileError: a value is not what its field takes, or what lies beside the file is not there.
    """
    proto = load(source)
    inside = onnx_file.total_bytes(proto) <= onnx_file.LARGEST_INLINE
    onnx_file.place(proto, source.parent, destination, None if inside else LEAST_BESIDE)
    destination.write_bytes(proto.SerializeToString(deterministic=True))
    return ()


def retell(binary: Path, error: NarrowcastError) -> None:
    """Lets an error about a file name the place in the JSON that it was made of."""
    with suppress(NarrowcastError, OSError):
        _name_place(error, _places(onnx_file.parse(binary).graph))


@contextmanager
def placed(proto: onnx.ModelProto) -> Iterator[None]:
    """Lets errors about a node or a tensor name its place in the JSON that a protocol buffer was made of."""
    places = _places(proto.graph)
    try:
        yield
    except NarrowcastError as error:
        _name_place(error, places)
        raise


def _places(graph: onnx.GraphProto) -> dict[str, str]:
    """Where the nodes and tensors of a graph lie, by what errors call them."""
    places: dict[str, str] = {}
    for index, node in enumerate(graph.node):
        places |= dict.fromkeys((*node.output, node.name), item("graph.node", index))
    for index, tensor in enumerate(graph.initializer):
        places[f"tensor '{shown(tensor.name)}'"] = item("graph.initializer", index)
    return places


def _name_place(error: NarrowcastError, places: Mapping[str, str]) -> None:
    place = places.get(error.where) or places.get(error.where.rpartition(" (")[0])
    if place and error.where:
        error.where = f"{place}, {error.where}"


def load(path: Path) -> onnx.ModelProto:
    """The protocol buffer that a JSON file spells.

    Raises:
        ModelFileError: it is no JSON, or a value is not what its field takes; names its place.
    """
    from google.protobuf.json_format import ParseDict, ParseError
    from onnx import ModelProto

    document = jsontext.read(path, fold=lambda name: name.replace("_", "").lower())
    proto = ModelProto()
    try:
        if isinstance(document, dict):
            return onnx_file.is_whole(ParseDict(document, proto))
        why = "it is no object"
    except (ParseError, *_REFUSALS) as error:
        why = str(error)
    raise _fault(ModelProto, document, "") or ModelFileError(f"no ONNX model: {why}")


def _fault(kind: Any, value: Any, place: str) -> ModelFileError | None:
    """The first mistake in what should be a message of a kind; None where there is none to be found."""
    from google.protobuf.message_factory import GetMessageClass

    if not isinstance(value, dict):
        return _expected("an object", value, place or "the file")
    fields = kind.DESCRIPTOR.fields
    named = {name: field for field in fields for name in (field.name, field.json_name)}
    for name, content in value.items():
        field, where = named.get(name), key(place, name)
        if field is None:
            hint = did_you_mean(name, named) or f"it has {', '.join(field.json_name for field in fields)}"
            return ModelFileError(f"{where}: {kind.DESCRIPTOR.name} has no such field", hint=hint)
        repeated = isinstance(field.default_value, list)
        if repeated and not isinstance(content, list):
            return _expected("a list", content, where)
        if _fits(kind, {name: content}):
            continue
        for index, one in enumerate(_listed(field, content)):
            spot = item(where, index) if repeated else where
            if field.message_type is not None:
                if (found := _fault(GetMessageClass(field.message_type), one, spot)) is not None:
                    return found
            elif not _fits(kind, {name: [one] if repeated else one}):
                is_name = field.enum_type is not None
                return _unnamed(field.enum_type, one, spot) if is_name else _expected(_WORDS[field.type], one, spot)
    return None


def _fits(kind: Any, document: dict[str, Any]) -> bool:
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        ParseDict(document, kind())
    except (ParseError, *_REFUSALS):
        return False
    return True


def _expected(what: str, found: Any, place: str) -> ModelFileError:
    return ModelFileError(f"{place}: expected {what}, found {jsontext.told(found)}")


def _unnamed(enumeration: Any, found: Any, place: str) -> ModelFileError:
    names = enumeration.values_by_name
    hint = did_you_mean(str(found), names) or f"one of {', '.join(names)}"
    return ModelFileError(f"{place}: {jsontext.told(found)} is no {enumeration.name}", hint=hint)
