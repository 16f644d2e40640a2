"""All rules together: each fires in a case of its own, is needed there, and minds no order."""

from __future__ import annotations

import random

import pytest

from narrowcast.passes import canonicalize, decompose
from narrowcast.passes.rewrite import Rule
from tests.passes import decompose as of_decompose
from tests.passes import fuse as of_fuse
from tests.passes.cases import (
    Case,
    Operators,
    Prepare,
    canonical,
    cases_in,
    check,
    decomposed,
    name_of,
    operators_of,
    recorded,
    rules_changed,
)

FLOWS = (
    (cases_in(of_fuse), canonicalize.rules(idioms=True), canonical),
    (cases_in(of_decompose), decompose._rules(), decomposed),
)
RULES = [
    (rule, prepare)
    for _, rules, prepare in FLOWS
    for rule in sorted({name_of(rule) for listed in rules.by_operator.values() for rule in listed})
]


@pytest.fixture(scope="module")
def firing() -> dict[tuple[str, Prepare], list[Case]]:
    """For each rule the cases, of its own package, in which it fires."""
    found: dict[tuple[str, Prepare], list[Case]] = {}
    for cases, _, prepare in FLOWS:
        for case in cases:
            with recorded() as fired:
                prepare(case.model())
            for rule in fired:
                found.setdefault((rule, prepare), []).append(case)
    return found


@pytest.mark.parametrize(("rule", "prepare"), RULES, ids=[rule for rule, _ in RULES])
def test_each_rule_has_a_case_that_needs_it(rule, prepare, firing):
    assert (rule, prepare) in firing, "no case lets it fire"
    with rules_changed(lambda rules: [other for other in rules if name_of(other) != rule]):
        assert not all(_holds(case, prepare) for case in firing[rule, prepare]), "no case fails without it"


def _holds(case: Case, prepare: Prepare) -> bool:
    try:
        check(case, prepare)
    except Exception:  # what a graph that is not whole ends in
        return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rules_changes_nothing(seed):
    def shuffled(rules: list[Rule]) -> list[Rule]:
        return random.Random(seed).sample(rules, len(rules)) if seed else rules[::-1]

    for cases, _, prepare in FLOWS:
        expected = [_after(case, prepare) for case in cases]
        with rules_changed(shuffled):
            assert [_after(case, prepare) for case in cases] == expected


def _after(case: Case, prepare: Prepare) -> tuple[str, Operators]:
    model = case.model()
    prepare(model)
    return case.name, operators_of(model, case)
