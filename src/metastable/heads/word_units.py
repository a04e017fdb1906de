"""Words that are read in several random packings, as the units of the tests."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse

from metastable.errors import InputError
from metastable.heads.contrasts import Contrast, contrasts_of
from metastable.heads.cube import feature_table, head_positions, row_blocks
from metastable.measures import COUNT
from metastable.stats.shared_noise import Readings, shared_noise
from metastable.study import Material, Options, Sequence, Study

if TYPE_CHECKING:
    from metastable.models.sites import Site

__all__ = ["UnitCube", "check_packings", "read_sides", "unit_cube", "word_contrasts", "word_readings"]


@dataclass(frozen=True)
class UnitCube:
    """What the tests of a study see.

    Attributes
    ----------
    cube : xarray.Dataset
        The cube of the sequences, or where words are read in several packings ``mean_NAME`` of each measure with words
        along ``sequence``: a word's mean over its pieces' rows and then over the packings, its deviation from the fit
        widened by the noise that words of a sequence share (`metastable.stats.shared_noise`). There are then no values
        of single tokens.
    sequences : tuple of Sequence
        The sequences, or the words; in the order of the cube.
    design_effect : ndarray of float64, shape (n_features,), or None
        Of words, for the run's own measure at its primary threshold: variance of the estimate over that of words that
        share nothing. None where sequences are tested.
    """

    cube: xr.Dataset = field(repr=False)
    sequences: tuple[Sequence, ...] = field(repr=False)
    design_effect: NDArray[np.float64] | None = None

    @property
    def has_tokens(self) -> bool:
        """Whether there are values of single tokens, for mixed models."""
        return self.design_effect is None


def check_packings(study: Study, options: Options, material: Material) -> None:
    """Refuse what has no answer where words are read in several packings.

    Raises
    ------
    InputError
        Naming the option.
    """
    if material.packings == 1:
        return
    given = f"--packings {material.packings}"
    if options.queries == "special":
        raise InputError(
            f"{given} with --queries special: a word's value is that of the rows of its own pieces; leave --queries out"
        )
    if options.joint:
        raise InputError(
            f"{given} with --joint: one model of all heads takes sequences for draws, and here words are; leave one out"
        )
    if options.keep == "means":
        raise InputError(
            f"{given} with --keep means: a word's value is that of the tokens of its own pieces, which a cube of means "
            "does not hold; leave one out"
        )
    if study.views or study.design.factor is not None or study.design.clustered:
        raise InputError(f"{given}: study {study.name} has views, clusters or a second factor; leave it out")
    if not material.units:
        raise InputError(f"{given}: study {study.name} names no words as units; leave it out")


def read_sides(contrast: Contrast, material: Material) -> NDArray[np.intp]:
    """Return the side of each sequence that the model read: 0 for a, 1 for b, -1 for none.

    Parameters
    ----------
    contrast : Contrast
        Of the sequences or, of several packings, of the words.
    material : Material

    Returns
    -------
    ndarray of int, shape (n_sequences,)
    """
    if material.packings == 1:
        return contrast.sides
    side = {one.condition: side for one, side in zip(material.units, contrast.sides.tolist(), strict=True)}
    return np.array([side[one.condition] for one in material.sequences], dtype=np.intp)


def word_contrasts(study: Study, words: tuple[Sequence, ...]) -> tuple[Contrast, ...]:
    """Return the contrasts of a study whose units are words, or pairs of words.

    Parameters
    ----------
    study : Study
    words : tuple of Sequence
        As `Material.units` holds them.

    Returns
    -------
    tuple of Contrast
    """
    unit = "word pair" if study.design.paired else "word"
    return contrasts_of(replace(study, design=replace(study.design, unit=unit)), words)


@dataclass(frozen=True)
class _Places:
    """Where each word stands: one entry for each word of each sequence.

    Attributes
    ----------
    word, sequence : ndarray of int, shape (n_places,)
        Row of the word among the units, row of the sequence.
    first : ndarray of int, shape (n_sequences + 1,)
        First place of each sequence, and the number of places.
    """

    word: NDArray[np.intp]
    sequence: NDArray[np.intp]
    first: NDArray[np.intp]


def _places(sequences: SequenceOf[Sequence], words: SequenceOf[Sequence]) -> _Places:
    rows = {(one.condition, one.words[0]): row for row, one in enumerate(words)}
    sizes = [len(one.words) for one in sequences]
    return _Places(
        np.array([rows[one.condition, word] for one in sequences for word in one.words], dtype=np.intp),
        np.repeat(np.arange(len(sequences)), sizes),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp),
    )


def _owners(sequences: SequenceOf[Sequence], places: _Places, width: int, *, later: bool) -> NDArray[np.intp]:
    """Return the place that each row of the cube belongs to, shape (n_sequences, width); -1 for none."""
    owners = np.full((len(sequences), width), -1, dtype=np.intp)
    for row, (one, first) in enumerate(zip(sequences, places.first[:-1], strict=True)):
        index = np.array(one.word_index, dtype=np.intp)
        owners[row, : len(index)] = np.where(index < 0, -1, index + first)
    # a decoder reads each word one step later than the text has it
    return np.pad(owners[:, :-1], ((0, 0), (1, 0)), constant_values=-1) if later else owners


def word_readings(
    cube: xr.Dataset,
    sequences: SequenceOf[Sequence],
    words: SequenceOf[Sequence],
    sites: SequenceOf[Site],
    threshold: float,
    measure: str,
) -> Readings:
    """Return the mean of a measure over the rows of each word's pieces, once for each sequence that it stands in.

    Parameters
    ----------
    cube : xarray.Dataset
        Of the sequences, as `metastable.load_counts` opens it.
    sequences : sequence of Sequence
        In the order of the cube.
    words : sequence of Sequence
        The units.
    sites : sequence of Site
        Those of the model.
    threshold : float
        One of the cube's thresholds.
    measure : str
        Which summary of the attention row.

    Returns
    -------
    Readings
        The unit of a reading is its word and the group its sequence.

        NaN where no row of a word's pieces has a value.

    Raises
    ------
    InputError
        If a word of a sequence has no row that queries.

    Notes
    -----
    Rows are read some sequences at a time; what is held is one number a reading and head.
    """
    features, places = feature_table(cube), _places(sequences, words)
    decoding = {site.name for site in sites if site.queries == "decoder"}
    late = features["site"].isin(decoding).to_numpy()
    values = np.zeros((len(places.word), len(features)))
    for later in (False, True):
        columns = np.flatnonzero(late == later)
        if not len(columns):
            continue
        owners = _owners(sequences, places, cube.sizes["token"], later=later)
        for start, rows, asked in row_blocks(cube, features.iloc[columns], threshold, measure):
            here = owners[start : start + len(rows)]
            first, last = places.first[start], places.first[start + len(rows)]
            keep = here.ravel() >= 0
            pick = sparse.csr_array(
                (np.ones(keep.sum()), (here.ravel()[keep] - first, np.flatnonzero(keep))),
                shape=(last - first, here.size),
            )
            count = np.asarray(pick @ asked.reshape(here.size, -1).astype(np.float64))
            if measure == COUNT.name and (count == 0).any():
                lost = int(first + np.argmax((count == 0).any(axis=1)))
                one = sequences[int(places.sequence[lost])]
                raise InputError(
                    f"sequence {one.identifier!r}: the word {words[places.word[lost]].words[0]!r} has no "
                    "row that queries, and --packings compares the rows of words; leave --packings out"
                )
            total = np.asarray(pick @ np.where(asked, rows, 0.0).reshape(here.size, -1))
            values[first:last, columns] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return Readings(values, places.word, places.sequence)


@dataclass(frozen=True)
class _Tests:
    """Fixed effects of the tests that values of words will meet.

    Attributes
    ----------
    designs : list of ndarray, each of shape (n_units, p)
        Those of the run's own test first; of pairs, of their differences.
    column : int
        The tested column.
    span : ndarray, shape (n_units, q)
        What spans all of them.
    """

    designs: list[NDArray[np.float64]]
    column: int
    span: NDArray[np.float64]


def _tests(contrast: Contrast, covariates: tuple[str, ...]) -> _Tests:
    """Return the designs with the covariates that a run holds fixed, with none, and with all that are recorded."""
    table = contrast.covariates
    a, b = contrast.condition, ~contrast.condition
    if contrast.pair is not None:
        # units come pair by pair
        table = table[a].reset_index(drop=True) - table[b].reset_index(drop=True)
        first = [np.ones(len(table))]
    else:
        first = [np.ones(len(table)), np.asarray(contrast.predictor if contrast.predictor is not None else a)]
    varied = [name for name in table.columns if np.ptp(table[name].to_numpy()) > 0]

    def design(names: SequenceOf[str], *more: NDArray[np.bool_]) -> NDArray[np.float64]:
        held = [table[name].to_numpy(dtype=np.float64) for name in names if name in varied]
        return np.column_stack([*first, *more, *held]).astype(np.float64)

    several = [design(covariates), design(()), design(varied)]
    # the conditions' own means stay too where a slope is tested
    return _Tests(several, len(first) - 1, design(varied, a) if contrast.predictor is not None else several[-1])


def _differences(
    readings: Readings, pair: NDArray[np.intp], in_a: NDArray[np.bool_], slot: NDArray[np.intp]
) -> Readings:
    """Turn readings of words into those of pairs, a - b.

    `pair` and `in_a` are of the words; `slot` is of the sequences and the same of the two that hold the same pairs.
    """
    of_pair, group = pair[readings.unit], slot[readings.group]
    order = np.lexsort((group, of_pair))
    side = in_a[readings.unit][order]
    first, second = order[side], order[~side]
    return Readings(readings.values[first] - readings.values[second], of_pair[first], group[first])


def _codes(values: SequenceOf[str | None]) -> NDArray[np.intp]:
    return np.asarray(np.unique(np.array([str(value) for value in values]), return_inverse=True)[1], dtype=np.intp)


def _widened(
    readings: Readings, contrast: Contrast, tests: _Tests, slot: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of the words, widened, shape (n_words, n_features); and the design effect.

    A word that lacks a value in any packing has none, and nothing is widened in that head.
    """
    known = np.asarray(np.isfinite(readings.values).all(axis=0))
    values, effect = readings.means, np.full(readings.values.shape[1], np.nan)
    if known.any():
        whole = Readings(readings.values[:, known], readings.unit, readings.group)
        values[:, known], effect[known] = _widened_whole(whole, contrast, tests, slot)
    return values, effect


def _widened_whole(
    readings: Readings, contrast: Contrast, tests: _Tests, slot: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if contrast.pair is None:
        found = shared_noise(readings, tests.designs, tests.column, span=tests.span)
        return found.values, found.design_effect
    unit, word = contrast.weights.nonzero()
    pair, in_a = np.empty(len(word), dtype=np.intp), np.empty(len(word), dtype=bool)
    pair[word], in_a[word] = contrast.pair[unit], contrast.condition[unit]
    differences = _differences(readings, pair, in_a, slot)
    found = shared_noise(differences, tests.designs, tests.column, span=tests.span)
    # half of what is added goes to either side, so that the sum of a pair stays
    added = (found.values - differences.means)[pair] / 2
    return readings.means + np.where(in_a[:, None], added, -added), found.design_effect


def unit_cube(
    cube: xr.Dataset, material: Material, contrast: Contrast, sites: SequenceOf[Site], options: Options
) -> UnitCube:
    """Turn the cube of the sequences of several packings into one of the words; one packing stays as it is.

    Parameters
    ----------
    cube : xarray.Dataset
        As `metastable.load_counts` opens it.
    material : Material
    contrast : Contrast
        The primary one: of several packings the first of `word_contrasts`.
    sites : sequence of Site
        Those of the model.
    options : Options
        The measure, the thresholds, and the covariates that are held fixed.

    Returns
    -------
    UnitCube
    """
    if material.packings == 1:
        return UnitCube(cube, material.sequences)
    features, tests = feature_table(cube), _tests(contrast, tuple(options.covariates))
    slot = _codes([one.pair or one.identifier for one in material.sequences])
    at = head_positions(cube, features)
    shape = (len(material.units), *(cube.sizes[name] for name in ("site", "layer", "head")))
    primary = min(cube["threshold"].to_numpy().tolist(), key=lambda value: abs(value - options.threshold[0]))
    variables, effect = {}, np.ones(len(features))
    for name in [str(name).removeprefix("mean_") for name in cube.data_vars if str(name).startswith("mean_")]:
        several = "threshold" in cube[f"mean_{name}"].dims
        blocks = []
        for threshold in cube["threshold"].to_numpy().tolist() if several else [primary]:
            readings = word_readings(cube, material.sequences, material.units, sites, threshold, name)
            values, found = _widened(readings, contrast, tests, slot)
            if name == options.measure and threshold == primary:
                effect = found
            block = np.full(shape, np.nan)
            block[:, at[0], at[1], at[2]] = values
            blocks.append(block)
        dims = ("sequence", "site", "layer", "head")
        variables[f"mean_{name}"] = ((*dims, "threshold"), np.stack(blocks, axis=-1)) if several else (dims, blocks[0])
    coordinates = {name: cube[name].to_numpy() for name in ("site", "layer", "head", "threshold")}
    coordinates["sequence"] = np.array([one.identifier for one in material.units])
    return UnitCube(xr.Dataset(variables, coordinates, dict(cube.attrs)), material.units, effect)
