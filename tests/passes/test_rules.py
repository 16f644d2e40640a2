"""All rules together: each fires in a case of its own, is needed there, and minds no order."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from narrowcast.passes import canonicalize
from narrowcast.passes.rewrite import Rule
from tests.passes import fuse as of_fuse
from tests.passes.cases import Case, canonical, cases_in, check, name_of, operators, recorded, rules_changed

CASES = [(case, canonical) for case in cases_in(of_fuse)]
RULES = sorted({name_of(rule) for rules in canonicalize.rules(idioms=True).by_operator.values() for rule in rules})


@pytest.fixture(scope="module")
def firing() -> dict[str, list[tuple[Case, Callable[..., None]]]]:
    """For each rule the cases in which it fires."""
    found: dict[str, list[tuple[Case, Callable[..., None]]]] = {rule: [] for rule in RULES}
    for case, prepare in CASES:
        with recorded() as fired:
            operators(case, prepare)
        for rule in fired:
            found[rule].append((case, prepare))
    return found


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_has_a_case_that_needs_it(rule, firing):
    assert firing[rule], "no case lets it fire"
    with rules_changed(lambda rules: [other for other in rules if name_of(other) != rule]):
        assert any(not _holds(case, prepare) for case, prepare in firing[rule]), "no case fails without it"


def _holds(case: Case, prepare: Callable[..., None]) -> bool:
    try:
        check(case, prepare)
    except Exception:  # what a graph that is not whole ends in
        return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_rules_changes_nothing(seed):
    def shuffled(rules: list[Rule]) -> list[Rule]:
        return random.Random(seed).sample(rules, len(rules)) if seed else rules[::-1]

    for case, prepare in CASES:
        expected = operators(case, prepare)
        with rules_changed(shuffled):
            assert operators(case, prepare) == expected, case.name
