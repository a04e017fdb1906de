"""A covariate that a single unit decides is left out of the adjustment, by name, and the others are held fixed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.stats.adjustment import difference_design
from metastable.stats.single_units import SingleUnitError, holdable

N = 40
CONDITION = np.arange(N) < N // 2
PAIR = np.tile(np.arange(N // 2), 2)


def table(*names: str) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    columns = {
        "length": rng.normal(size=N),
        "single": (np.arange(N) == 7).astype(float),
        "frequency": rng.normal(size=N),
        "again": np.where(np.arange(N) == 9, 2.0, 0.0),
        "constant": np.ones(N),
        "side": CONDITION.astype(float),
    }
    return pd.DataFrame(columns)[list(names)]


def found(*names: str, pair=None, cluster=None):
    values = np.random.default_rng(4).normal(size=(N, 1))
    return holdable(
        table(*names), lambda held: difference_design(values, CONDITION, held, pair=pair, cluster=cluster).adjusted()
    )


@pytest.mark.parametrize("pair", [None, PAIR])
def test_those_that_a_single_unit_decides_are_left_out_and_the_others_stay(pair):
    some = found("length", "single", "frequency", "again", "constant", pair=pair)
    assert list(some.covariates) == ["length", "frequency", "constant"]
    assert some.single == ("single", "again")
    assert some.reason == ""


def test_of_two_that_together_single_out_a_unit_the_first_stays():
    one = table("length").assign(moved=lambda frame: frame["length"] + (np.arange(N) == 3))
    values = np.zeros((N, 1))
    some = holdable(one, lambda held: difference_design(values, CONDITION, held).adjusted())
    assert list(some.covariates) == ["length"]
    assert some.single == ("moved",)


def test_a_cluster_may_decide_one_too():
    cluster = np.arange(N) // 2
    assert found("length", "single", cluster=cluster).single == ("single",)


def test_where_none_is_left_out_the_table_is_as_it_was():
    whole = found("length", "frequency")
    assert list(whole.covariates) == ["length", "frequency"]
    assert (whole.single, whole.reason) == ((), "")


def test_why_nothing_can_be_held_fixed():
    none = found("single")
    assert none.covariates is None
    assert none.single == ("single",)
    assert "unit 7 alone determines" in none.reason
    assert "explained by the condition" in found("length", "side").reason

    def fit(held: pd.DataFrame) -> None:
        raise SingleUnitError("unit 7 alone") if held.shape[1] > 1 else InputError("too few units")

    # also where it shows when one is left out
    beyond = holdable(table("length", "single"), fit)
    assert (beyond.covariates, beyond.reason) == (None, "too few units")
    for nothing in (None, table()):
        assert holdable(nothing, lambda _: None).reason == "no covariate was recorded"


def test_an_error_that_is_no_input_error_is_not_taken_for_a_finding():
    def fit(_: pd.DataFrame) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        holdable(table("length"), fit)
    assert issubclass(SingleUnitError, InputError)
