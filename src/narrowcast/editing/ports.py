"""Actions on what goes in and out: the network is cut at tensors, ports get other names."""

from __future__ import annotations

from collections.abc import Sequence

from narrowcast.editing import fields
from narrowcast.editing.action import Site, action
from narrowcast.editing.fields import optional, required
from narrowcast.editing.select import nothing
from narrowcast.model import ir
from narrowcast.passes import tidy

__all__ = ["cut", "cut_at"]


@action("cut", inputs=optional(fields.names, ()), outputs=optional(fields.names, ()))
def cut(site: Site, *, inputs: list[str], outputs: list[str]) -> None:
    """Begins the network at some tensors and ends it at others; what is then not needed goes, inputs included.

    Where only one side is named, the other stays; inputs that are still needed beside those named stay too.
    """
    if not inputs and not outputs:
        raise site.error("nothing says where to cut", "give 'inputs', 'outputs', or both")
    begins = [_computed(site, name, f"inputs[{index}]") for index, name in enumerate(inputs)]
    ends = [_computed(site, name, f"outputs[{index}]") for index, name in enumerate(outputs)]
    for value in begins:
        if value in ends or (not ends and value.is_graph_output()):
            raise site.error(f"{value.name!r} would be an input and an output at once")
        if value.dtype is None or value.shape is None:
            raise site.error(f"nothing says the shape of {value.name!r}", "cut elsewhere")
    cut_at(site, begins, ends)


def _computed(site: Site, name: str, field: str) -> ir.Value:
    """A tensor that a node computes."""
    value = site.tensor(name, field)
    if value.is_graph_input():
        raise site.error(f"{name!r} is an input already", field=field)
    if value.producer() is None:
        raise site.error(f"{name!r} is a constant", "cut at a tensor that is computed", field=field)
    return value


def cut_at(site: Site, begins: Sequence[ir.Value], ends: Sequence[ir.Value]) -> None:
    """Begins the main graph at some computed tensors, ends it behind others, and drops what is then not needed.

    Raises:
        UsageError: a tensor to begin with is not needed for the outputs.
    """
    graph = site.graph
    if ends:
        graph.outputs[:] = ends
        site.model.labels = ()
    fed = []
    for old in begins:
        new = ir.Value(name=old.name, type=old.type, shape=old.shape)
        old.name = site.builder.unique(f"{old.name}/cut")
        for use in tuple(old.uses()):
            use.node.replace_input_with(use.idx, new)
        fed.append(new)
    if fed:
        graph.inputs[:] = [*fed, *graph.inputs]
        site.model.preprocessing = None
    tidy.remove_unused(site.model)
    for value in [value for value in graph.inputs if not value.uses() and not value.is_graph_output()]:
        if value in fed:
            raise site.error(f"no output needs {value.name!r}", "cut the outputs elsewhere, or leave it out")
        graph.inputs.remove(value)


@action("rename", ports=required(fields.renames))
def rename(site: Site, *, ports: dict[str, str]) -> None:
    """Gives inputs and outputs other names."""
    known = {value.name or "": value for value in (*site.graph.inputs, *site.graph.outputs)}
    for old in ports:
        if old not in known:
            raise nothing("input or output", old, list(known), f"{site.place}.ports")
    others = set(site.values()) - set(ports)
    for old, new in ports.items():
        if new in others:
            raise site.error(f"there is a tensor {new!r} already", field=f"ports.{old}")
    for old, new in ports.items():
        known[old].name = new
    for name in ports.values():
        site.builder.unique(name)  # taken from now on
