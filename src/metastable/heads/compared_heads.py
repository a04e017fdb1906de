"""Two finished reports side by side: the same heads joined, or the profiles of models of other shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from metastable.errors import InputError
from metastable.heads.depth import effects_by_depth
from metastable.heads.finished_report import FinishedReport, rows_at
from metastable.measures import measure_named
from metastable.stats.agreement import MapAgreement, effect_difference, map_agreement
from metastable.stats.corrections import CORRECTIONS, adjust_p_values
from metastable.study import Options
from metastable.study.options import COMMON_OPTIONS, MEASURED, MODEL

__all__ = [
    "JOINED_COLUMNS",
    "MEASURED_OF_A_ROW",
    "Comparison",
    "Relation",
    "compare_reports",
    "corrected_at",
    "effect_kind",
    "join_heads",
    "labels",
    "measured_of_a_row",
    "one_scale",
    "option_differences",
    "shared_measure",
    "shared_thresholds",
]

Relation = Literal["same heads", "other weights", "other shape"]
"""How the heads of two models correspond."""

_KEYS = ["site", "layer", "head", "threshold"]
_BOTH = ["size", "size_low", "size_high", "estimate", "p_perm", "p_perm_fdr", "verdict"]

JOINED_COLUMNS = (
    *_KEYS,
    *(f"{column}_{side}" for side in ("first", "second") for column in _BOTH),
    "size_difference",
    "size_difference_low",
    "size_difference_high",
    "p_difference",
    "p_difference_fdr",
    "same_sign",
    "significant",
)
"""Columns of the joined table."""

# Heads are joined threshold by threshold; by these options one row of attention is measured otherwise.
MEASURED_OF_A_ROW = tuple(entry.name for entry in COMMON_OPTIONS if entry.group == MEASURED and not entry.many)
"""Options that say what is measured of a row of attention."""

# What changes nothing but where and how fast a study runs; the models are told apart by their weights.
_NO_CHOICE = frozenset(entry.name for entry in COMMON_OPTIONS if entry.affects == "nothing" or entry.group == MODEL)


@dataclass(frozen=True)
class Comparison:
    """What two reports say side by side.

    Attributes
    ----------
    first, second : FinishedReport
    names : pair of str
        What they are called.
    relation : {"same heads", "other weights", "other shape"}
        Whether the models have the same weights, the same shape, or neither.
    thresholds : tuple of float
        Those that both hold, the primary one first.
    joined : pandas.DataFrame
        As `join_heads` returns it; no row where the shapes differ.
    agreement : mapping of float to MapAgreement
        Of the maps of effects, by threshold; empty where the shapes differ, without a threshold where fewer than three
        heads have an effect in both.
    difference_agreement : MapAgreement or None
        Of the maps of the differences as measured, not standardized, at the primary threshold.
    size_profile : MapAgreement or None
        Of the layers' mean absolute effects; None below three layers.
    by_measure : mapping of str to MapAgreement
        Of the maps of effects on each measure that both reports test, at the primary threshold; empty where the shapes
        differ.
    effects : pandas.DataFrame
        As `metastable.heads.depth.effects_by_depth` returns it, at the primary threshold.
    alpha : float
        Significance level of the heads in either and of their differences.
    n_permutations : int
        Permutations of the tests of agreement.
    seed : int
        Of the permutations.
    """

    first: FinishedReport
    second: FinishedReport
    names: tuple[str, str]
    relation: Relation
    thresholds: tuple[float, ...]
    joined: pd.DataFrame = field(repr=False)
    agreement: Mapping[float, MapAgreement]
    difference_agreement: MapAgreement | None
    size_profile: MapAgreement | None
    by_measure: Mapping[str, MapAgreement]
    effects: pd.DataFrame = field(repr=False)
    alpha: float
    n_permutations: int
    seed: int

    @property
    def primary(self) -> pd.DataFrame:
        """Rows of the joined table at the primary threshold."""
        rows: pd.DataFrame = self.joined[self.joined["threshold"] == self.thresholds[0]]
        return rows.reset_index(drop=True)


def labels(first: FinishedReport, second: FinishedReport) -> tuple[str, str]:
    """Return the shortest names that tell two reports apart.

    The folders' names, else the models', else the folders that hold the reports.
    """
    for x, y in (
        (first.folder.resolve().name, second.folder.resolve().name),
        *((str(r1.model.id).rstrip("/").split("/")[-1], str(r2.model.id).rstrip("/").split("/")[-1])
          for r1, r2 in [(first.record, second.record)]),
        (first.folder.resolve().parent.name, second.folder.resolve().parent.name),
    ):  # fmt: skip
        if x != y:
            return x, y
    return str(first.folder), str(second.folder)


def effect_kind(report: FinishedReport) -> str:
    """Say what the effect of a report is, and over which units."""
    contrast = report.record.contrast
    if contrast.predictor is not None:
        return f"{report.effect.size_name} over the {contrast.predictor} of {contrast.unit}s"
    paired = "paired " if contrast.paired and "pair" not in contrast.unit else ""
    return f"{report.effect.size_name} over {paired}{contrast.unit}s"


def measured_of_a_row(report: FinishedReport) -> dict[str, str]:
    """Return by the names of the options what is measured of a row of attention, in the measure that is looked at."""
    options = {name: str(getattr(report.record.options, name)) for name in MEASURED_OF_A_ROW}
    return {**options, "measure": report.measure}


def shared_measure(first: FinishedReport, second: FinishedReport, chosen: str | None = None) -> tuple[str, str]:
    """Return the measures in which two reports are compared.

    Parameters
    ----------
    first, second : FinishedReport
    chosen : str or None
        Only this one.

    Returns
    -------
    pair of str
        What was chosen; else what the first run is about where the second tests it, else what the second is about
        where the first tests it, else what each is about.

    Raises
    ------
    InputError
        If one does not test what was chosen.
    """
    if chosen is not None:
        for report in (first, second):
            if chosen not in report.of_measure:
                raise InputError(
                    f"--measure {chosen}: the report in {report.folder} tests {', '.join(report.of_measure)}; choose "
                    f"one of these, or run its study again with --measure {chosen}"
                )
        return chosen, chosen
    if first.measure in second.of_measure:
        return first.measure, first.measure
    if second.measure in first.of_measure:
        return second.measure, second.measure
    return first.measure, second.measure


# Units that average over numbers of tokens this far apart have standard deviations that cannot be compared.
_SAME_LENGTH = 1.25


def one_scale(first: FinishedReport, second: FinishedReport) -> bool:
    """Whether the effects of two reports are in comparable standard deviations.

    They are where both are differences or both slopes over the same predictor, of the same measure of the same tokens,
    and where the units average over about as many tokens. (Hedges' g of pairs is divided by the standard deviation of
    the units, not of the differences within pairs, so that pairing alone changes nothing.)
    """
    predictors = {report.record.contrast.predictor for report in (first, second)}
    measured = {tuple(measured_of_a_row(report).values()) for report in (first, second)}
    lengths = sorted(report.tokens_per_unit for report in (first, second))
    return len(predictors) == len(measured) == 1 and lengths[1] <= _SAME_LENGTH * lengths[0]


def shared_thresholds(
    first: Sequence[float], second: Sequence[float], chosen: Sequence[float] | None = None
) -> tuple[float, ...]:
    """Return the thresholds that two reports share, in the order of the first.

    Parameters
    ----------
    first, second : sequence of float
        Thresholds of each, the primary one first.
    chosen : sequence of float or None
        Only these, in this order.

    Returns
    -------
    tuple of float

    Raises
    ------
    InputError
        If they share none, or one that was chosen is not shared.
    """
    here, there = (", ".join(f"{value:g}" for value in values) for values in (first, second))
    shared = tuple(value for value in first if np.isclose(value, list(second)).any())
    if not shared:
        raise InputError(
            f"the first report has the thresholds {here} and the second {there}, so there is none to compare; run one "
            f"of them again with --threshold {first[0]:g}"
        )
    if chosen is None:
        return shared
    for value in chosen:
        if not np.isclose(value, shared).any():
            raise InputError(f"--threshold {value:g}: the first report has {here} and the second {there}")
    return tuple(next(known for known in shared if np.isclose(known, value)) for value in chosen)


def join_heads(
    first: pd.DataFrame, second: pd.DataFrame, thresholds: Sequence[float], *, alpha: float = 0.05
) -> pd.DataFrame:
    """Join two tables of the same heads and add the differences of their effects.

    Parameters
    ----------
    first, second : pandas.DataFrame
        As `FinishedReport.heads`.
    thresholds : sequence of float
        Those to join; the rows come in this order.
    alpha : float
        For ``significant``.

    Returns
    -------
    pandas.DataFrame
        One row per site, layer, head and threshold, with `JOINED_COLUMNS`:

        * ``size, size_low, size_high`` (Hedges' g of a difference of groups, d of a slope), ``estimate`` (the
          difference or the slope), ``p_perm, p_perm_fdr, verdict`` of either, with ``_first`` and ``_second``
        * ``size_difference``, ``size_difference_low``, ``size_difference_high``, ``p_difference``: as
          `metastable.stats.agreement.effect_difference`, first - second
        * ``p_difference_fdr``: these p-values after Benjamini & Hochberg over the heads of a site and threshold that
          have one
        * ``same_sign``: whether both effects lie on the same side of zero
        * ``significant``: ``both, first, second`` or ``neither``, by ``p_perm_fdr < alpha``
    """
    parts = []
    for threshold in thresholds:
        sides = [rows_at(table, threshold)[[*_KEYS, *_BOTH]] for table in (first, second)]
        parts.append(sides[0].merge(sides[1], on=_KEYS, suffixes=("_first", "_second"), validate="one_to_one"))
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise InputError("the two reports share no head at these thresholds; their tables do not fit their models")
    limits = [[table[f"{name}_{side}"] for name in ("size", "size_low", "size_high")] for side in ("first", "second")]
    found = effect_difference((limits[0][0], limits[0][1], limits[0][2]), (limits[1][0], limits[1][1], limits[1][2]))
    known = np.isfinite(found.p)
    adjusted = np.full(len(table), np.nan)
    if known.any():
        family = table.groupby(["site", "threshold"], sort=False).ngroup().to_numpy()
        adjusted[known] = adjust_p_values(found.p[known], method="bh", family=family[known])
    x, y = ((table[f"p_perm_fdr_{side}"] < alpha).to_numpy() for side in ("first", "second"))
    return table.assign(
        size_difference=found.estimate,
        size_difference_low=found.low,
        size_difference_high=found.high,
        p_difference=found.p,
        p_difference_fdr=adjusted,
        same_sign=table["size_first"] * table["size_second"] > 0,
        significant=np.select([x & y, x, y], ["both", "first", "second"], "neither"),
    )[list(JOINED_COLUMNS)]


def option_differences(first: Options, second: Options) -> list[tuple[str, str, str]]:
    """Return the options that differ, each with its two values; a dash where a study has no such option."""

    def shown(values: Mapping[str, Any], name: str) -> str:
        if name not in values:
            return "–"
        value = values[name]
        if isinstance(value, tuple):
            return ", ".join(map(str, value)) or "none"
        return "none" if value is None else str(value)

    here, there = first.values(), second.values()
    names = [name for name in {**here, **there} if name not in _NO_CHOICE]
    rows = [(name, shown(here, name), shown(there, name)) for name in names]
    return [row for row in rows if row[1] != row[2]]


def _layers(report: FinishedReport) -> set[tuple[str, int]]:
    return set(report.heads[["site", "layer"]].drop_duplicates().itertuples(index=False, name=None))


def _relation(first: FinishedReport, second: FinishedReport) -> Relation:
    # Hybrids of one shape may have their attention in other layers.
    if first.shape != second.shape or _layers(first) != _layers(second):
        return "other shape"
    same = first.record.model.weights_sha256 == second.record.model.weights_sha256
    return "same heads" if same else "other weights"


def _agree(
    table: pd.DataFrame, columns: tuple[str, str], n_permutations: int, seed: int, *, layers: bool = True
) -> MapAgreement | None:
    first, second = (table[column].to_numpy(dtype=np.float64) for column in columns)
    if (np.isfinite(first) & np.isfinite(second)).sum() < 3:
        return None
    codes = table.groupby(["site", "layer"], sort=False).ngroup() if layers else np.zeros(len(table), dtype=np.intp)
    return map_agreement(first, second, codes, n_permutations=n_permutations, rng=seed)


def _rows_of(first: FinishedReport, second: FinishedReport, measure: str, threshold: float) -> pd.DataFrame:
    """Join the effects of two reports on one measure; one that depends on no threshold has the first alone."""
    sides = []
    for report in (first, second):
        rows = report.of_measure[measure]
        found = rows_at(rows, threshold) if measure_named(measure).of_threshold else rows
        sides.append(found[["site", "layer", "head", "size"]])
    return sides[0].merge(sides[1], on=["site", "layer", "head"], suffixes=("_first", "_second"))


def corrected_at(report: FinishedReport, alpha: float) -> FinishedReport:
    """Correct a report's p-values anew, where its correction depends on a level and the report had another.

    Parameters
    ----------
    report : FinishedReport
    alpha : float
        Level that the corrected p-values will be compared with.

    Returns
    -------
    FinishedReport
        With ``p_perm_fdr`` of every measure's heads at that level, within sites and thresholds, by the report's own
        correction.
    """
    options = report.record.options
    if options.alpha == alpha or not CORRECTIONS[options.correction].uses_alpha:
        return report
    corrected = {}
    for measure, heads in report.of_measure.items():
        family = heads.groupby(["site", "threshold"], sort=False).ngroup().to_numpy()
        p = adjust_p_values(heads["p_perm"], method=options.correction, family=family, alpha=alpha)
        corrected[measure] = heads.assign(p_perm_fdr=p)
    return replace(report, of_measure=corrected)


def compare_reports(
    first: FinishedReport,
    second: FinishedReport,
    *,
    threshold: Sequence[float] | None = None,
    measure: str | None = None,
    n_permutations: int = 10_000,
    alpha: float = 0.05,
    seed: int = 20,
) -> Comparison:
    """Put two reports side by side.

    Parameters
    ----------
    first, second : FinishedReport
    threshold : sequence of float or None
        Only these thresholds, the first being primary; all that both have where None.
    measure : str or None
        What is compared, as `shared_measure` takes it.
    n_permutations : int
        Permutations of the tests of agreement.
    alpha : float
        Significance level of the heads in either and of their differences.
    seed : int
        Of the permutations; the same ones for each threshold.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If the two are the same folder, share no threshold, or one does not test the measure.
    """
    if first.folder.resolve() == second.folder.resolve():
        raise InputError(f"{first.folder} was given twice; name two reports")
    first, second = (
        report.about(name) for report, name in zip((first, second), shared_measure(first, second, measure), strict=True)
    )
    first, second = corrected_at(first, alpha), corrected_at(second, alpha)
    thresholds = shared_thresholds(first.thresholds, second.thresholds, threshold)
    relation = _relation(first, second)
    names = labels(first, second)
    joined = pd.DataFrame(columns=list(JOINED_COLUMNS))
    agreement: dict[float, MapAgreement] = {}
    by_measure: dict[str, MapAgreement] = {}
    raw = profile = None
    if relation != "other shape":
        joined = join_heads(first.heads, second.heads, thresholds, alpha=alpha)
        for value in thresholds:
            found = _agree(joined[joined["threshold"] == value], ("size_first", "size_second"), n_permutations, seed)
            if found is not None:
                agreement[value] = found
        for name in (name for name in first.of_measure if name in second.of_measure):
            rows = _rows_of(first, second, name, thresholds[0])
            agreed = None if rows.empty else _agree(rows, ("size_first", "size_second"), n_permutations, seed)
            if agreed is not None:
                by_measure[name] = agreed
        primary = joined[joined["threshold"] == thresholds[0]]
        raw = _agree(primary, ("estimate_first", "estimate_second"), n_permutations, seed)
        sizes = primary.assign(
            size_first=primary["size_first"].abs(), size_second=primary["size_second"].abs()
        ).replace([np.inf], np.nan)
        means = sizes.groupby(["site", "layer"], sort=False)[["size_first", "size_second"]].mean().reset_index()
        profile = _agree(means, ("size_first", "size_second"), n_permutations, seed, layers=False)
    return Comparison(
        first=first,
        second=second,
        names=names,
        relation=relation,
        thresholds=thresholds,
        joined=joined,
        agreement=agreement,
        difference_agreement=raw,
        size_profile=profile,
        by_measure=by_measure,
        effects=effects_by_depth((first, second), names, thresholds[0]),
        alpha=alpha,
        n_permutations=n_permutations,
        seed=seed,
    )
