"""As many pairs as the calipers allow, at the least cost, against brute force and other solvers."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from metastable.errors import InputError
from metastable.material.covariates import word_covariates
from metastable.material.norms import load_norms, select_by_rating
from metastable.material.pairing import CALIPERS, EXACT, assign_pairs, match_words
from metastable.material.parts_of_speech import parts_of_speech
from metastable.models.encoders import BUNDLED_MODEL, load_tokenizer


def brute_force(allowed: np.ndarray, cost: np.ndarray) -> tuple[int, float]:
    """Most pairs and the least cost of so many, by trying all."""
    n_rows, n_columns = allowed.shape
    for size in range(min(n_rows, n_columns), 0, -1):
        best = np.inf
        for rows in combinations(range(n_rows), size):
            for columns in permutations(range(n_columns), size):
                if allowed[rows, columns].all():
                    best = min(best, cost[rows, columns].sum())
        if best < np.inf:
            return size, best
    return 0, 0.0


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    size = shape[0] * shape[1]
    allowed = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    cost = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=size, max_size=size))
    return np.reshape(allowed, shape), np.reshape(cost, shape)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_assignment_is_that_of_brute_force(problem: tuple[np.ndarray, np.ndarray]) -> None:
    allowed, cost = problem
    rows, columns = np.nonzero(allowed)
    chosen = assign_pairs(rows, columns, cost[rows, columns], allowed.shape)
    assert len(set(rows[chosen])) == len(set(columns[chosen])) == len(chosen)
    size, least = brute_force(allowed, cost)
    assert len(chosen) == size
    assert cost[rows[chosen], columns[chosen]].sum() == pytest.approx(least)


def test_no_pair_is_given_up_for_a_cheaper_choice() -> None:
    # alone, the middle pair costs nothing; two pairs cost 2
    rows, columns, cost = np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.0, 1.0, 1.0])
    assert assign_pairs(rows, columns, cost, (2, 2)).tolist() == [1, 2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.4))
def test_larger_assignments_agree_with_other_solvers(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    allowed, cost = rng.random((60, 45)) < density, rng.random((60, 45))
    rows, columns = np.nonzero(allowed)
    chosen = assign_pairs(rows, columns, cost[rows, columns], allowed.shape)
    assert len(chosen) == (maximum_bipartite_matching(csr_array(allowed), perm_type="column") >= 0).sum()
    dense_rows, dense_columns = linear_sum_assignment(np.where(allowed, cost, 1000.0))
    kept = allowed[dense_rows, dense_columns]
    assert cost[rows[chosen], columns[chosen]].sum() == pytest.approx(cost[dense_rows, dense_columns][kept].sum())


def table(words: str, **columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame(columns, index=pd.Index(list(words), name="word"))


word_tables = st.lists(
    st.tuples(st.integers(1, 2), st.sampled_from(["NOUN", "VERB", ""]), st.integers(3, 6), st.integers(300, 345)),
    min_size=2,
    max_size=5,
)


@settings(max_examples=80, deadline=None)
@given(word_tables, word_tables)
def test_pairs_are_within_the_calipers_and_as_many_as_can_be(first: list, second: list) -> None:
    names = ["word_pieces", "part_of_speech", "characters", "zipf"]
    a = pd.DataFrame(first, columns=names, index=[f"a{i}" for i in range(len(first))])
    b = pd.DataFrame(second, columns=names, index=[f"b{i}" for i in range(len(second))])
    a["zipf"], b["zipf"] = a["zipf"] / 100, b["zipf"] / 100
    allowed = np.array(
        [
            [
                x.word_pieces == y.word_pieces
                and x.part_of_speech == y.part_of_speech != ""
                and abs(x.characters - y.characters) <= 1
                and round(abs(x.zipf - y.zipf) * 100) <= 30
                for y in b.itertuples()
            ]
            for x in a.itertuples()
        ]
    )
    letters = np.abs(a["characters"].to_numpy()[:, None] - b["characters"].to_numpy())
    zipf = np.abs(a["zipf"].to_numpy()[:, None] - b["zipf"].to_numpy()) / 0.3
    cost = (letters + zipf) / 2
    size, least = brute_force(allowed, cost)
    if size < 2:
        with pytest.raises(InputError, match=f"{size} can be paired within the calipers"):
            match_words(a, b)
        return
    pairs = match_words(a, b).pairs
    i, j = a.index.get_indexer(pairs["a"]), b.index.get_indexer(pairs["b"])
    assert allowed[i, j].all()
    assert len(set(i)) == len(set(j)) == len(pairs) == size
    np.testing.assert_allclose(pairs["distance"], cost[i, j], atol=1e-9)
    assert pairs["distance"].sum() == pytest.approx(least, abs=1e-8)


def test_the_order_of_the_words_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    a = pd.DataFrame({"zipf": rng.integers(0, 9, 40) / 10}, index=[f"a{i:02d}" for i in range(40)])
    b = pd.DataFrame({"zipf": rng.integers(0, 9, 30) / 10}, index=[f"b{i:02d}" for i in range(30)])
    first = match_words(a, b, exact=(), calipers={"zipf": 0.1})
    again = match_words(a.iloc[rng.permutation(40)], b.iloc[rng.permutation(30)], exact=(), calipers={"zipf": 0.1})
    pd.testing.assert_frame_equal(first.pairs, again.pairs)


def test_a_caliper_of_zero_asks_for_equality() -> None:
    a, b = table("pqr", characters=[3, 4, 5]), table("xyz", characters=[4, 5, 9])
    pairs = match_words(a, b, exact=(), calipers={"characters": 0}).pairs
    assert pairs[["a", "b"]].to_numpy().tolist() == [["q", "x"], ["r", "y"]]


def test_without_calipers_words_of_the_same_kind_are_paired() -> None:
    a, b = table("pqr", kind=["x", "y", "x"]), table("stuv", kind=["x", "z", "y", "y"])
    pairs = match_words(a, b, exact=("kind",), calipers={}).pairs
    assert len(pairs) == 2
    assert dict(zip(pairs["a"], pairs["b"], strict=True))["q"] in "uv"
    assert set(pairs["b"]) > {"s"}


def test_balance_is_told_before_and_after() -> None:
    a = table("pqrs", part_of_speech=["NOUN", "NOUN", "VERB", ""], zipf=[3.0, 3.5, 4.0, 9.0])
    b = table("wxyz", part_of_speech=["NOUN", "NOUN", "NOUN", "VERB"], zipf=[3.1, 3.6, 1.0, 4.1])
    matching = match_words(a, b, exact=("part_of_speech",), calipers={"zipf": 0.2})
    assert matching.pairs[["a", "b"]].to_numpy().tolist() == [["p", "w"], ["q", "x"], ["r", "z"]]
    before, after = (frame.set_index("covariate") for frame in (matching.balance_before, matching.balance_after))
    names = ["part_of_speech unknown", "part_of_speech NOUN", "part_of_speech VERB", "zipf"]
    assert before.index.tolist() == after.index.tolist() == names
    assert before.loc["zipf", ["mean_a", "mean_b"]].tolist() == pytest.approx([4.875, 2.95])
    assert after.loc["zipf", ["mean_a", "mean_b"]].tolist() == pytest.approx([3.5, 3.6])
    assert before.loc["part_of_speech NOUN", ["mean_a", "mean_b"]].tolist() == [0.5, 0.75]
    assert after.loc["part_of_speech NOUN", "smd"] == 0
    assert matching.notes == (
        "3 pairs of 4 and 4 candidates, as many as the calipers allow (same part of speech, zipf within 0.2); "
        "the other words have no partner and are left out",
        "1 and 0 candidates are not in the lexicon of parts of speech and are left out",
    )


def test_bad_requests_are_told() -> None:
    a, b = table("pq", zipf=[3.0, 4.0], kind=["x", "y"]), table("xy", zipf=[3.0, 4.0], kind=["x", "y"])
    with pytest.raises(InputError, match=r"by 'letters': there is no such column; choose among zipf, kind"):
        match_words(a, b, exact=("letters",), calipers={})
    with pytest.raises(InputError, match=r"the caliper of zipf is -1; give 0 or more"):
        match_words(a, b, exact=(), calipers={"zipf": -1})
    with pytest.raises(InputError, match="kind is not a finite number for every word"):
        match_words(a, b, exact=(), calipers={"kind": 1})
    with pytest.raises(InputError, match="zipf is not a finite number for every word"):
        match_words(a.assign(zipf=[np.nan, 1]), b, exact=(), calipers={"zipf": 1})
    with pytest.raises(InputError, match="the word 'p' is a candidate twice"):
        match_words(a, b.set_axis(["p", "y"]), exact=(), calipers={"zipf": 1})


@pytest.fixture(scope="module")
def nouns() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Concrete and abstract words of one piece that the lexicon knows as nouns in their base form alone."""
    chosen = select_by_rating(load_norms())
    count_pieces = load_tokenizer(BUNDLED_MODEL).count_pieces
    tables = []
    for frame in (chosen.concrete, chosen.abstract):
        words = frame["word"].tolist()
        described = word_covariates(words, count_pieces).join(parts_of_speech(words))
        tables.append(described[(described["word_pieces"] == 1) & (described["part_of_speech"] == "NOUN")])
    return tables[0], tables[1]


def test_one_piece_nouns_make_597_pairs(nouns: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    a, b = nouns
    letters = np.abs(a["characters"].to_numpy()[:, None] - b["characters"].to_numpy())
    zipf = np.abs(a["zipf"].to_numpy()[:, None] - b["zipf"].to_numpy())
    allowed = (letters <= 1) & (np.round(zipf, 2) <= 0.3)
    matching = match_words(a, b, exact=EXACT, calipers=CALIPERS)
    assert len(matching.pairs) == 597
    assert (maximum_bipartite_matching(csr_array(allowed), perm_type="column") >= 0).sum() == 597
    # what a plain assignment leaves within the calipers is far less
    rows, columns = linear_sum_assignment(letters**2 + zipf**2)
    assert allowed[rows, columns].sum() < 200
    i, j = a.index.get_indexer(matching.pairs["a"]), b.index.get_indexer(matching.pairs["b"])
    assert allowed[i, j].all()
    rows, columns = linear_sum_assignment(np.where(allowed, (letters + zipf / 0.3) / 2, 10_000.0))
    kept = allowed[rows, columns]
    least = ((letters + zipf / 0.3) / 2)[rows, columns][kept].sum()
    assert kept.sum() == 597
    assert matching.pairs["distance"].sum() == pytest.approx(least)
    before = matching.balance_before.set_index("covariate")["smd"].abs()
    after = matching.balance_after.set_index("covariate")["smd"].abs()
    assert (after[["characters", "zipf"]] < before[["characters", "zipf"]] / 2).all()
