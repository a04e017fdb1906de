"""Words over several packings: their values recomputed row by row, and what cannot be had refused."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from metastable.errors import InputError
from metastable.heads.contrasts import contrasts_of
from metastable.heads.cube import feature_table, unit_means
from metastable.heads.head_tests import analyse_cube, side_histograms
from metastable.heads.packings import POOLED, verdicts_over_packings
from metastable.heads.word_units import check_packings, read_sides, unit_cube, word_contrasts, word_readings
from metastable.models.sites import Site
from metastable.study import Condition, Design, Material, Options, Sequence, Study

N, PER_SEQUENCE, TOKENS, PACKINGS = 24, 4, 8, 3
OPTIONS = Options(measure="count", permutations=199, threshold=(0.9, 0.5))


def study(**design):
    return Study(
        name="s", title="T", question="Q?", conditions=(Condition("a", "a"), Condition("b", "b")),
        build=lambda options, tokenizer: Material(()), design=Design(**design),
    )  # fmt: skip


def material(*, paired=False, rated=False):
    """Words of one or two pieces, packed in the same slots of both sides."""
    rng = np.random.default_rng(3)
    pieces = rng.integers(1, 3, N)
    sequences = []
    for packing in range(1, PACKINGS + 1):
        orders = [rng.permutation(N), rng.permutation(N)]
        if paired:
            orders[1] = orders[0]
        for condition, order in zip("ab", orders, strict=True):
            for number, words in enumerate(order.reshape(-1, PER_SEQUENCE)):
                index = [-1, *np.repeat(np.arange(PER_SEQUENCE), pieces[words]).tolist()][:TOKENS]
                # what is cut off is no word of the sequence
                words = words[: max(index) + 1]
                sequences.append(
                    Sequence(
                        identifier=f"p{packing}-{condition}-{number}", condition=condition,
                        words=tuple(f"{condition}{word}" for word in words), text="", token_ids=(1,) * len(index),
                        word_index=tuple(index), packing=str(packing),
                        pair=f"p{packing}-{number}" if paired else None,
                        covariates={"zipf": float(len(index)), **({"rating": float(number)} if rated else {})},
                    )
                )  # fmt: skip
    units = tuple(
        Sequence(
            identifier=f"{condition}: {condition}{word}", condition=condition, words=(f"{condition}{word}",), text="",
            token_ids=(), word_index=(), pair=str(word) if paired else None,
            covariates={"zipf": float(pieces[word] + (condition == "b") * 0.3 * (word % 3)),
                        **({"rating": float(word)} if rated else {})},
        )
        for condition in "ab"
        for word in range(N)
    )  # fmt: skip
    return Material(tuple(sequences), of_words=True, packings=PACKINGS, units=units)


def cube_of(read, seed=1, sites=("self",)):
    """Counts and another measure of every row, NaN or 0 where there is none."""
    rng = np.random.default_rng(seed)
    n = len(read.sequences)
    shape = (n, len(sites), 2, 2)
    count = rng.integers(1, TOKENS, (*shape, 2, TOKENS)).astype(np.uint8)
    mass = rng.random((*shape, TOKENS)).astype(np.float32)
    for row, one in enumerate(read.sequences):
        count[row, ..., len(one.token_ids) :] = 0
        mass[row, ..., len(one.token_ids) :] = np.nan
    axes = ("sequence", "site", "layer", "head")
    asked = np.maximum((count > 0).sum(-1), 1)
    return xr.Dataset(
        {
            "count": ((*axes, "threshold", "token"), count),
            "mean_count": ((*axes, "threshold"), count.sum(-1) / asked),
            "special_mass": ((*axes, "token"), mass),
            "mean_special_mass": (axes, np.nanmean(mass, axis=-1)),
        },
        {"site": list(sites), "layer": [1, 2], "head": [1, 2], "threshold": [0.9, 0.5]},
    )


SITES = (Site("self", 2, 2),)


def by_hand(cube, read, unit, layer, head, threshold, *, later=False):
    """Mean over packings of the mean over a word's rows."""
    found = []
    for row, one in enumerate(read.sequences):
        for place, word in enumerate(one.words):
            if one.condition == unit.condition and word == unit.words[0]:
                rows = [token + later for token, index in enumerate(one.word_index) if index == place]
                found.append(np.mean([float(cube["count"][row, 0, layer, head, threshold, token]) for token in rows]))
    return np.mean(found)


@pytest.mark.parametrize("paired", [False, True])
def test_the_mean_of_every_word_is_that_over_its_rows_and_packings(paired):
    read = material(paired=paired)
    cube = cube_of(read)
    contrast = word_contrasts(study(paired=paired), read.units)[0]
    for threshold, value in enumerate((0.9, 0.5)):
        found = word_readings(cube, read.sequences, read.units, SITES, value, "count").means
        for row in (0, 5, N, 2 * N - 1):
            assert found[row, 3] == pytest.approx(by_hand(cube, read, read.units[row], 1, 1, threshold))
    # widening keeps the means of both sides
    tested = unit_cube(cube, read, contrast, SITES, OPTIONS)
    means = word_readings(cube, read.sequences, read.units, SITES, 0.9, "count").means
    values = unit_means(tested.cube, feature_table(tested.cube), 0.9, "count")
    np.testing.assert_allclose(values[:N].mean(axis=0), means[:N].mean(axis=0))
    np.testing.assert_allclose(values[N:].mean(axis=0), means[N:].mean(axis=0))
    assert (values.std(axis=0) >= means.std(axis=0) - 1e-12).all()
    assert (tested.design_effect >= 1).all()
    assert contrast.unit == ("word pair" if paired else "word")
    assert not tested.has_tokens


def test_a_decoder_reads_each_word_one_step_later():
    read = material()
    read = replace(read, sequences=tuple(
        replace(one, token_ids=(*one.token_ids, 1), word_index=(*one.word_index, -1)) for one in read.sequences
        if len(one.token_ids) < TOKENS
    ))  # fmt: skip
    units = tuple(u for u in read.units if any(u.words[0] in s.words for s in read.sequences))
    cube = cube_of(read)
    found = word_readings(cube, read.sequences, units, (Site("self", 2, 2, queries="decoder"),), 0.9, "count").means
    assert found[2, 0] == pytest.approx(by_hand(cube, read, units[2], 0, 0, 0, later=True))


def test_pairs_are_widened_by_what_their_differences_share():
    read = material(paired=True)
    cube = cube_of(read)
    # noise of the slot in the differences alone: it has to widen them
    slot = {
        one.pair: value for one, value in zip(read.sequences, np.random.default_rng(2).normal(size=99), strict=False)
    }
    noise = np.array([4 * slot[one.pair] if one.condition == "a" else 0.0 for one in read.sequences])
    cube["special_mass"] = cube["special_mass"] + xr.DataArray(noise, dims="sequence")
    contrast = word_contrasts(study(paired=True), read.units)[0]
    tested = unit_cube(cube, read, contrast, SITES, replace(OPTIONS, measure="special_mass"))
    assert (tested.design_effect > 2).all()
    values = unit_means(tested.cube, feature_table(tested.cube), 0.9, "special_mass")
    means = word_readings(cube, read.sequences, read.units, SITES, 0.9, "special_mass").means
    np.testing.assert_allclose((values[:N] + values[N:]), (means[:N] + means[N:]))
    before, after = means[:N] - means[N:], values[:N] - values[N:]
    np.testing.assert_allclose(after.mean(axis=0), before.mean(axis=0))
    readings = word_readings(cube, read.sequences, read.units, SITES, 0.9, "special_mass")
    # the design that asks the most decides, here now and then the one with the covariate
    assert (after.var(axis=0) / before.var(axis=0) >= tested.design_effect - 1e-9).all()
    assert len(readings.values) == 2 * sum(len(one.words) for one in read.sequences if one.condition == "a")


def test_a_head_in_which_a_word_lacks_a_value_is_left_as_it_is():
    read = material()
    cube = cube_of(read)
    token = read.sequences[0].word_index.index(0)
    mass = cube["special_mass"].to_numpy().copy()
    mass[0, 0, 0, 0, :] = np.nan
    cube["special_mass"] = (cube["special_mass"].dims, mass)
    assert token == 1
    tested = unit_cube(cube, read, word_contrasts(study(), read.units)[0], SITES, OPTIONS)
    values = unit_means(tested.cube, feature_table(tested.cube), 0.9, "special_mass")
    lost = [row for row, unit in enumerate(read.units) if unit.words[0] in read.sequences[0].words]
    assert np.flatnonzero(np.isnan(values[:, 0])).tolist() == lost
    assert np.isfinite(values[:, 1:]).all()


def test_a_word_without_a_row_is_named():
    read = material()
    cube = cube_of(read)
    cube["count"][3, 0, 1, 0, 0, 1] = 0
    if read.sequences[3].word_index[:3].count(0) > 1:
        cube["count"][3, 0, 1, 0, 0, 2] = 0
    with pytest.raises(InputError, match=f"the word '{read.sequences[3].words[0]}' has no row that queries"):
        word_readings(cube, read.sequences, read.units, SITES, 0.9, "count")


def test_one_packing_is_tested_as_its_sequences():
    read = replace(material(), packings=1, units=())
    cube = cube_of(read)
    contrast = contrasts_of(study(), read.sequences)[0]
    tested = unit_cube(cube, read, contrast, SITES, OPTIONS)
    assert tested.cube is cube
    assert tested.sequences is read.sequences
    assert tested.has_tokens
    np.testing.assert_array_equal(read_sides(contrast, read), contrast.sides)


def test_sides_of_sequences_are_those_of_their_words():
    read = material()
    sides = read_sides(word_contrasts(study(), read.units)[0], read)
    assert [int(one.condition == "b") for one in read.sequences] == sides.tolist()


def test_every_packing_is_tested_as_a_run_of_one_packing_would_be():
    read = material()
    cube, options = cube_of(read), replace(OPTIONS, threshold=(0.9,))
    contrast = word_contrasts(study(), read.units)[0]
    tested = unit_cube(cube, read, contrast, SITES, options)
    histograms = side_histograms(cube, read_sides(contrast, read), options.threshold)
    arguments = (options, histograms, lambda done, total: None)
    words = analyse_cube(tested.cube, contrast, tested.sequences, *arguments, with_mixed_models=False)
    found = verdicts_over_packings(cube, study(), read, options, words, tested.design_effect, lambda done, total: None)
    assert found.table.groupby("packing", sort=False).size().to_dict() == {"1": 4, "2": 4, "3": 4, POOLED: 4}
    second = [place for place, one in enumerate(read.sequences) if one.packing == "2"]
    sequences = tuple(read.sequences[place] for place in second)
    alone = contrasts_of(study(), sequences)[0]
    part = cube.isel(sequence=second)
    expected = analyse_cube(
        part, alone, sequences, options, side_histograms(part, alone.sides, (0.9,)), lambda d, t: None
    ).heads
    rows = found.table[found.table["packing"] == "2"]
    np.testing.assert_array_equal(rows["p_perm"], expected["p_perm"])
    np.testing.assert_array_equal(rows["difference"], expected["difference"])
    np.testing.assert_array_equal(found.pooled["difference"], words.heads["difference"])
    assert found.pooled["n_a"].unique().tolist() == [N]
    assert rows["unit"].unique().tolist() == ["sequence"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"queries": "special"}, "--packings 3 with --queries special"),
        ({"joint": True}, "--packings 3 with --joint"),
    ],
)
def test_what_words_cannot_answer_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        check_packings(study(), replace(OPTIONS, **changed), material())
    check_packings(study(), replace(OPTIONS, **changed), replace(material(), packings=1))


def test_packings_without_units_and_of_clusters_are_refused():
    with pytest.raises(InputError, match="names no words as units"):
        check_packings(study(), OPTIONS, replace(material(), units=()))
    with pytest.raises(InputError, match="has views, clusters or a second factor"):
        check_packings(study(clustered=True), OPTIONS, material())


def test_slopes_keep_their_estimates():
    read = material(rated=True)
    cube = cube_of(read)
    contrast = word_contrasts(study(predictor="rating"), read.units)[0]
    tested = unit_cube(cube, read, contrast, SITES, replace(OPTIONS, covariates=("zipf",)))
    values = unit_means(tested.cube, feature_table(tested.cube), 0.9, "count")
    means = word_readings(cube, read.sequences, read.units, SITES, 0.9, "count").means
    for held in ((), ("zipf",)):
        design = np.column_stack([np.ones(2 * N), contrast.predictor, contrast.covariates[list(held)]])
        before, after = (np.linalg.lstsq(design, one, rcond=None)[0][1] for one in (means, values))
        np.testing.assert_allclose(after, before)
