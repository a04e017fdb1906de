"""Which measures a run tests beside its own, and what becomes of one that units lack."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from metastable.heads.head_tests import analyse_beside, analyse_cube, measures_beside
from metastable.study import Options
from tests.report.fixed_results import fixed_result

RESULT = fixed_result("plain")
OPTIONS = Options(permutations=99, measure="count")
MASSES = {"special_mass", "first_mass", "sink_mass", "entropy"}


def cube_of(*measures: str) -> xr.Dataset:
    """Two layers of three heads, with random means of some measures."""
    rng = np.random.default_rng(3)
    arrays = {}
    for name in measures:
        shape = (len(RESULT.material.sequences), 1, 2, 3, *(() if name in MASSES else (1,)))
        dims = ("sequence", "site", "layer", "head", "threshold")[: len(shape)]
        arrays[f"mean_{name}"] = (dims, rng.uniform(1, 5, shape))
        arrays[name] = ((*dims, "token"), np.ones((*shape, 4)))
    return xr.Dataset(arrays, {"site": ["self"], "layer": [1, 2], "head": [1, 2, 3], "threshold": [0.9]})


@pytest.mark.parametrize(
    ("held", "measure", "beside"),
    [
        (
            ("count", "count_contributions", "count_words", "share", "special_mass", "first_mass"),
            "count",
            ("count_contributions", "count_words", "special_mass"),
        ),
        (("count", "count_contributions", "share", "first_mass"), "count", ("count_contributions", "first_mass")),
        (("count", "count_words", "special_mass", "entropy"), "entropy", ("count", "count_words", "special_mass")),
        (("count", "first_mass"), "first_mass", ("count",)),
        (("count",), "count", ()),
    ],
)
def test_those_that_the_cube_holds_are_tested(held: tuple[str, ...], measure: str, beside: tuple[str, ...]) -> None:
    assert measures_beside(cube_of(*held), Options(measure=measure)) == beside


def test_a_measure_that_a_unit_lacks_is_left_out_with_the_reason_and_the_others_are_tested() -> None:
    cube = cube_of("count", "count_contributions", "count_words", "special_mass")
    cube["mean_count_words"][4, 0, 1, 2] = np.nan
    histograms = np.ones((1, 2, 6, 5), dtype=np.int64)
    given = (cube, RESULT.contrast, RESULT.material.sequences)
    told: list[tuple[int, int]] = []
    found, left_out = analyse_beside(*given, OPTIONS, histograms, lambda done, total: told.append((done, total)))
    assert list(found) == ["count_contributions", "special_mass"]
    n_units = len(RESULT.contrast.condition)
    assert left_out == {"count_words": f"has no value in a head for 1 of {n_units} units"}
    assert told == sorted(told)
    assert all(done <= total for done, total in told)
    alone = analyse_cube(*given, Options(permutations=99, measure="special_mass"), histograms, lambda *_: None)
    columns = [name for name in alone.heads if not name.startswith("lmm")]
    assert found["special_mass"].heads[columns].equals(alone.heads[columns])
    assert found["special_mass"].heads["lmm_p"].isna().all()
