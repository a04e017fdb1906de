"""Two-by-two designs in contexts: each contrast's rows are made of one unit in one context, and tested over both."""

from __future__ import annotations

import numpy as np
import pytest

from metastable.heads.contrasts import contrasts_of
from metastable.stats import crossed_test
from metastable.study import Condition, Design, Factor, Material, Sequence, Study

A, B = Condition("concrete", "a"), Condition("abstract", "b")
POOL = Factor("pool", (Condition("easy", "e"), Condition("hard", "h")))


def described(design):
    return Study(
        name="s", title="T", question="Q?", conditions=(A, B), build=lambda o, t: Material(()), design=design
    )  # fmt: skip


def crossed(n_units, n_contexts, *, within=False, repeats=1):
    """Sequences of every cell of units, contexts and levels, and of conditions where these are within units."""
    cells = [
        (unit, context, side, level)
        for unit in range(n_units)
        for context in range(n_contexts)
        for side in ((0, 1) if within else (int(unit >= n_units // 2),))
        for level in (0, 1)
        for _ in range(repeats)
    ]
    rng = np.random.default_rng(0)
    sequences = tuple(
        Sequence(
            identifier=f"s{number}", condition=(A, B)[side].name, words=("w",), text="w", token_ids=(1, 2, 3),
            word_index=(-1, 0, -1), pair=f"q{unit}", level=POOL.levels[level].name, context=f"c{context}",
            covariates={"length": float(rng.normal())},
        )
        for number, (unit, context, side, level) in enumerate(cells)
    )  # fmt: skip
    return sequences, np.array(cells)


DESIGN = Design(factor=POOL, unit="answer", context="clip")


@pytest.mark.parametrize("within", [False, True])
def test_rows_are_contrasts_of_the_cell_means_of_a_unit_in_a_context(within):
    sequences, cells = crossed(6, 4, within=within, repeats=2)
    means = np.random.default_rng(1).normal(size=(len(cells), 3))
    for contrast in contrasts_of(described(DESIGN), sequences):
        crossing = contrast.crossing
        values, held = crossing.values(means), crossing.covariates["length"]
        assert (crossing.n_items, crossing.n_contexts) == (6, 4)
        assert (crossing.item_name, crossing.context_name) == ("answer", "clip")
        for row in range(len(values)):
            here = (cells[:, 0] == crossing.item[row]) & (cells[:, 1] == crossing.context[row])
            first = crossing.condition[row]
            if within or contrast.name != "pool":
                side = cells[:, 2] == (0 if first else 1)
                here &= side if contrast.name != "pool" else True
            mean = [means[here & (cells[:, 3] == level)].mean(axis=0) for level in (0, 1)]
            expected = {
                "interaction": mean[0] - mean[1],
                "condition": (mean[0] + mean[1]) / 2,
                "pool": mean[0] if first else mean[1],
            }[contrast.name]
            np.testing.assert_allclose(values[row], expected, atol=1e-12)
        lengths = np.array([sequence.covariates["length"] for sequence in sequences])
        if contrast.name == "condition":
            np.testing.assert_allclose(held, crossing.values(lengths[:, None])[:, 0])
        assert np.abs(held).max() < np.abs(lengths).max()


def test_the_estimate_over_both_is_the_contrast_of_the_units():
    sequences, cells = crossed(8, 5)
    means = np.random.default_rng(2).normal(size=(len(cells), 3))
    for contrast in contrasts_of(described(DESIGN), sequences):
        crossing, units = contrast.crossing, contrast.values(means)
        found = crossed_test(crossing.values(means), crossing.condition, crossing.item, crossing.context)
        expected = units[contrast.condition].mean(axis=0) - units[~contrast.condition].mean(axis=0)
        np.testing.assert_allclose(found.estimate, expected, atol=1e-9)


def test_an_interaction_that_differs_between_contexts_keeps_its_level_over_both_and_not_over_units():
    sequences, cells = crossed(40, 6)
    (contrast,) = [one for one in contrasts_of(described(DESIGN), sequences) if one.name == "interaction"]
    rng = np.random.default_rng(3)
    means = rng.normal(size=(len(cells), 400))
    sign = np.where((cells[:, 2] == 0) == (cells[:, 3] == 0), 0.5, -0.5)
    means += sign[:, None] * rng.normal(size=(6, 400))[cells[:, 1]]
    crossing = contrast.crossing
    found = crossed_test(crossing.values(means), crossing.condition, crossing.item, crossing.context)
    assert (found.p < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert (found.p_items < 0.05).mean() > 0.3


def test_cells_that_lack_a_level_leave_contexts_averaged_away_and_the_reason_is_told():
    sequences, cells = crossed(6, 4)
    fewer = tuple(one for one, cell in zip(sequences, cells, strict=True) if not (cell[1] == 2 and cell[3] == 1))
    for contrast in contrasts_of(described(DESIGN), fewer):
        assert contrast.crossing is None
        assert contrast.averaged == "not every answer has both levels of pool in each clip that it is in"


def test_designs_without_contexts_average_none():
    sequences, _ = crossed(6, 1)
    for contrast in contrasts_of(described(DESIGN), sequences):
        assert contrast.crossing is None
        assert contrast.averaged == ""
