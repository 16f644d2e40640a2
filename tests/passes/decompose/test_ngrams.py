"""Counting n-grams."""

from __future__ import annotations

import pytest

from tests.passes.cases import Case, check, decomposed

CASES = (
    Case(
        "pairs",
        "(int64[2,5] x) => (y) { y = TfIdfVectorizer<max_gram_length=2, min_gram_length=2, max_skip_count=0,"
        ' mode="TF", ngram_counts=[0, 2], ngram_indexes=[0, 1, 2, 3], pool_int64s=[0, 1, 0, 1, 1, 2]>(x) }',
        "...",
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case, decomposed)
