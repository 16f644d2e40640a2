"""Cases of rewriting rules: a graph as ONNX text, and the operators that it comes down to."""

from __future__ import annotations

import ast
import functools
import importlib
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import onnx.defs
import onnx.parser
from onnx.reference import ReferenceEvaluator

from narrowcast import targets
from narrowcast.dialect.build import constant_of
from narrowcast.errors import NarrowcastError
from narrowcast.model import OPSET, Model, Provenance, ir
from narrowcast.passes import canonicalize, decompose
from narrowcast.passes.infer import infer_shapes
from narrowcast.passes.rewrite import Rule
from narrowcast.reference import Reference
from narrowcast.targets.rules import lacks

Operators = list[tuple[str, dict[str, Any]]]
Prepare = Callable[[Model], None]
LITERT = targets.find("litert")


@dataclass(frozen=True)
class Case:
    """A graph before and after the rules.

    Attributes:
        name: what is special.
        before: a graph in ONNX's text form without its name: `(float[2,3] x) => (y) <float[3] w> { y = Mul(x, w) }`.
            Constants that are declared without numbers are drawn, floats between 0.5 and 2.
        after: the operators afterwards, in order, `Mul*3` for three. One may name what it must have: attributes, and
            constants among its inputs by ONNX's names for them: `Softmax(axis=1) Slice(starts=[0], ends=[2])`. At the
            end `...` stands for long arithmetic.
        span: between which numbers floating-point inputs are drawn.
        tolerance: by how much outputs may differ, relative to the largest of them.
    """

    name: str
    before: str
    after: str
    span: tuple[float, float] = (-2.0, 2.0)
    tolerance: float = 1e-5

    def __str__(self) -> str:
        return self.name

    def model(self) -> Model:
        """The graph before, its shapes inferred."""
        proto = onnx.parser.parse_model(
            f'<ir_version: 10, opset_import: ["": {OPSET}, "narrowcast": 1]> g {self.before}'
        )
        computed = {name for node in proto.graph.node for name in node.output}
        drawn = [info for info in proto.graph.value_info if info.name not in computed]
        for index, info in enumerate(drawn):
            shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            array = _drawn(np.random.default_rng(index), shape, dtype, (0.5, 2.0))
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
            proto.graph.value_info.remove(info)
        model = Model(ir.from_proto(proto), provenance=Provenance(format="test"))
        infer_shapes(model)
        return model

    def feed(self, model: Model) -> dict[str, np.ndarray]:
        """Seeded inputs; integers of more than 8 bits are 0, 1 or 2."""
        random = np.random.default_rng(1)
        return {spec.name: _drawn(random, spec.shape, spec.dtype, self.span) for spec in model.inputs}


def _drawn(random: np.random.Generator, shape: Any, dtype: np.dtype, span: tuple[float, float]) -> np.ndarray:
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return random.uniform(*span, shape).astype(dtype)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.itemsize == 1 and dtype.kind != "b" else (0, 1)
    return random.integers(low, high if dtype.kind == "b" else max(high, 2), shape, endpoint=True).astype(dtype)


def canonical(model: Model) -> None:
    """What the cases of `fuse` go through."""
    canonicalize.canonicalize(model)


def decomposed(model: Model) -> None:
    """What the cases of `decompose` go through: nothing is left that the target lacks."""
    canonicalize.canonicalize(model)
    decompose.decompose(model, LITERT)
    assert [lack for node in model.graph if (lack := lacks(node, LITERT))] == []


def check(case: Case, prepare: Prepare) -> None:
    """The operators are those of the case, and they compute the same; a second time changes nothing."""
    model = case.model()
    feed = case.feed(model)
    expected = _computed(model, feed)
    prepare(model)
    wanted, after = _wanted(case.after), operators_of(model, case)
    assert after[: len(wanted)] == wanted
    assert len(after) == len(wanted) or case.after.endswith("...")
    found = _computed(model, feed)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        scale = np.abs(array).max(initial=1.0) if array.dtype.kind == "f" else 1.0
        np.testing.assert_allclose(found[name], array, rtol=0, atol=case.tolerance * scale)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    prepare(model)
    assert operators_of(model, case) == after, "once more"


def _computed(model: Model, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By ONNX Runtime, or ONNX's own reference where that has no kernel."""
    try:
        return Reference(model, optimize=False).run(feed)
    except NarrowcastError:
        proto = ir.to_proto(model.ir)
        return dict(
            zip([output.name for output in proto.graph.output], ReferenceEvaluator(proto).run(None, feed), strict=True)
        )


def _wanted(after: str) -> Operators:
    found: Operators = []
    for operator, _, details, count in re.findall(r"(\w+)(\(([^)]*)\))?(?:\*(\d+))?", after):
        call = ast.parse(f"f({details})", mode="eval").body
        found += [(operator, {word.arg: ast.literal_eval(word.value) for word in call.keywords})] * int(count or 1)
    return found


def operators_of(model: Model, case: Case) -> Operators:
    """The operators of a graph, with what the case wants to know of each."""
    asked = [details for _, details in _wanted(case.after)]
    nodes = itertools.zip_longest(list(model.graph), asked[: len(model.graph)], fillvalue={})
    return [(node.op_type, {name: _detail(node, name) for name in names}) for node, names in nodes]


def _detail(node: ir.Node, name: str) -> Any:
    """An attribute or a constant input, by its name; floats are rounded to six digits."""
    if name in node.attributes:
        value = node.attributes[name].value
        return round(value, 6) if isinstance(value, float) else list(value) if isinstance(value, tuple) else value
    formal = [parameter.name for parameter in onnx.defs.get_schema(node.op_type, OPSET, node.domain).inputs]
    array = constant_of(node.inputs[formal.index(name)]) if name in formal[: len(node.inputs)] else None
    return None if array is None else np.round(array.astype(np.float64), 6).tolist()


def cases_in(package: ModuleType) -> list[Case]:
    """The `CASES` of all modules of a package of tests."""
    modules = [
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    ]
    return [case for module in modules for case in getattr(module, "CASES", ())]


def name_of(rule: Rule) -> str:
    """As in `fuse.clip.merge`."""
    return f"{rule.__module__.removeprefix('narrowcast.passes.')}.{rule.__name__}"


@contextmanager
def rules_changed(change: Callable[[list[Rule]], list[Rule]]) -> Iterator[None]:
    """Puts other lists of rules in the place of those of each operator."""
    sets = [canonicalize.rules(idioms=True), canonicalize.rules(idioms=False), decompose._rules()]
    kept = [rules.by_operator for rules in sets]
    try:
        for rules in sets:
            rules.by_operator = {operator: change(listed) for operator, listed in rules.by_operator.items()}
            wrapped = {rule for listed in rules.by_operator.values() for rule in listed} - set(rules.asks)
            rules.asks.update({rule: rules.asks[rule.__wrapped__] for rule in wrapped})
        yield
    finally:
        for rules, listed in zip(sets, kept, strict=True):
            rules.by_operator = listed


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The names of the rules that fire meanwhile."""
    fired: set[str] = set()

    def watched(rule: Rule) -> Rule:
        @functools.wraps(rule)
        def recording(node: ir.Node, rewriter: Any) -> bool | str:
            outcome = rule(node, rewriter)
            if outcome is True:
                fired.add(name_of(rule))
            return outcome

        return recording

    with rules_changed(lambda rules: [watched(rule) for rule in rules]):
        yield fired
