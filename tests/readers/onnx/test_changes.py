"""No change of an operator is missed: each is upgraded, or listed as compatible, or changes types and wording alone."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import onnx
import pytest
from onnx import defs

from narrowcast.model import OPSET
from narrowcast.readers.onnx.upgrade import OLDEST, UPGRADES
from narrowcast.readers.onnx.upgrade.compatible import COMPATIBLE
from narrowcast.readers.onnx.upgrade.registry import ALWAYS


def _signature(schema: defs.OpSchema) -> tuple[object, ...]:
    """What a node can see of its operator, but for the types."""
    return (
        schema.deprecated,
        [(item.option.name, item.is_homogeneous) for item in schema.inputs],
        [item.option.name for item in schema.outputs],
        {
            name: (item.type.name, item.required, str(onnx.helper.get_attribute_value(item.default_value)))
            if item.default_value.name
            else (item.type.name, item.required, None)
            for name, item in schema.attributes.items()
        },
    )


def _changes() -> dict[tuple[str, int], bool]:
    """(operator, opset) of every change that the reader may meet -> whether the signature changed."""
    history = defaultdict(list)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= OPSET:
            history[schema.name].append(schema)
    found = {}
    for name, schemas in history.items():
        schemas.sort(key=lambda schema: schema.since_version)
        for old, new in pairwise(schemas):
            if new.since_version > OLDEST:
                found[name, new.since_version] = _signature(old) != _signature(new)
    return found


CHANGES = _changes()
UPGRADED = {(name, row.opset) for name, rows in UPGRADES.items() for row in rows if row.opset != ALWAYS}


@pytest.mark.parametrize("change", sorted(change for change, signature in CHANGES.items() if signature), ids=str)
def test_each_change_of_a_signature_is_dealt_with(change: tuple[str, int]) -> None:
    assert (change in UPGRADED) != (change in COMPATIBLE), f"{change}: upgrade it, or say why it is compatible"


def test_nothing_is_listed_that_did_not_happen() -> None:
    assert set(COMPATIBLE) <= {change for change, signature in CHANGES.items() if signature}
    assert set(CHANGES) >= UPGRADED


def test_there_are_changes_to_look_at() -> None:
    assert len(CHANGES) > 200
    assert sum(CHANGES.values()) > 60
