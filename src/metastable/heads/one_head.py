"""One head of a finished run: its row of the tables, and the values that it was tested on."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError, did_you_mean
from metastable.extraction.store import load_counts
from metastable.heads.contrasts import Contrast
from metastable.heads.cube import feature_table, unit_means
from metastable.heads.head_tests import observations_of, token_rows, view_cube
from metastable.heads.record import RunRecord
from metastable.heads.results import RunResult
from metastable.measures import measure_named
from metastable.models.sites import Site
from metastable.stats.analysis import Analysis, TokenRows
from metastable.stats.contexts.generalized import Observations
from metastable.study import Options, Sequence

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["OneHead", "one_head", "pick_head", "sites_read"]

_KEYS = ["site", "layer", "head", "threshold", "measure"]
_LABELS = ("pair", "cluster", "context", "level", "packing")


@dataclass(frozen=True)
class OneHead:
    """What the tests of one head were made of, and what they said.

    Attributes
    ----------
    row : pandas.Series
        Its row of the heads and of the details, joined.
    family : pandas.DataFrame
        The rows of all heads of its site, threshold and measure, which are corrected together.
    analysis : Analysis
        The tests that it is one of.
    contrast : Contrast
    options : Options
        The run's, with the measure and the threshold of this row.
    model : str
        Name of the model.
    several_sites : bool
        Whether the model has several attention sites.
    view : str
        Name of the view; empty where whole sequences are looked at.
    frame : pandas.DataFrame
        One row per sequence, as `metastable.runs.notebook_head.Head.frame` says.
    units : pandas.DataFrame
        One row per unit of inference.
    tested : ndarray of float64, shape (n_units, 1)
        What was tested, in the order of `units`.
    observations : Observations or None
        What tests over items and contexts were made of; None where they are over units.
    tokens : TokenRows or None
        Rows of its mixed model; None where none was fitted.
    """

    row: pd.Series[Any]
    family: pd.DataFrame = field(repr=False)
    analysis: Analysis = field(repr=False)
    contrast: Contrast = field(repr=False)
    options: Options = field(repr=False)
    model: str
    several_sites: bool
    view: str
    frame: pd.DataFrame = field(repr=False)
    units: pd.DataFrame = field(repr=False)
    tested: NDArray[np.float64] = field(repr=False)
    observations: Observations | None = field(repr=False)
    tokens: TokenRows | None = field(repr=False)

    @property
    def place(self) -> str:
        """Which head it is: "layer 2, head 3", with its site where there are several."""
        of = f" of {self.row['site']}" if self.several_sites else ""
        return f"layer {self.row['layer']}, head {self.row['head']}{of}"


def _spans(numbers: SequenceOf[int]) -> str:
    """Write whole numbers as ranges: "1 to 6", "4 and 8 to 10"."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def pick_head(heads: pd.DataFrame, layer: int, head: int, site: str | None) -> dict[str, Any]:
    """Return the keys of one head of a table.

    Parameters
    ----------
    heads : pandas.DataFrame
        With columns ``site, layer, head``, one row per head.
    layer, head : int
        From 1, as the tables number them.
    site : str or None
        None where the head is in one site alone.

    Returns
    -------
    dict
        Of site, layer and head.

    Raises
    ------
    InputError
        If there is no such head, with the ranges that there are; or if it is in several sites and none is named.
    """
    sites = list(dict.fromkeys(heads["site"]))
    if site is not None and site not in sites:
        raise InputError(
            f"site={site!r}: there is no such site; {did_you_mean(str(site), sites)}there are {', '.join(sites)}"
        )
    for name, value in (("layer", layer), ("head", head)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputError(f"{name}={value!r}: give a whole number, counted from 1")
    mine = heads if site is None else heads[heads["site"] == site]
    found = mine[(mine["layer"] == layer) & (mine["head"] == head)]
    if found.empty:
        there = []
        for of_site, rows in mine.groupby("site", sort=False):
            of = f" of {of_site}" if len(sites) > 1 else ""
            there.append(f"layers {_spans(rows['layer'].tolist())}{of} with heads {_spans(rows['head'].tolist())}")
        raise InputError(f"there is no layer {layer}, head {head}; there are {'; '.join(there)}, counted from 1")
    if len(found["site"].unique()) > 1:
        raise InputError(f"layer {layer}, head {head} is in several sites; give site= one of {', '.join(sites)}")
    return {"site": str(found["site"].iloc[0]), "layer": int(layer), "head": int(head)}


def _chosen(
    result: RunResult, measure: str | None, contrast: str | None, view: str | None
) -> tuple[Analysis, Contrast]:
    """Return the tests and the contrast that names pick; unnamed the primary contrast and the run's own measure."""
    if view is not None:
        names = [one.name for one in result.study.views]
        if view not in names:
            raise InputError(
                f"view={view!r}: there is no such view; "
                + (f"{did_you_mean(view, names)}there are {', '.join(names)}" if names else "the study has none")
            )
        if measure is not None or contrast is not None:
            raise InputError("a view has a measure and a contrast of its own; give view= alone")
        return result.views[names.index(view)], result.contrast
    contrasts = [one.name for one in result.contrasts]
    if contrast is not None and contrast not in contrasts:
        raise InputError(f"contrast={contrast!r}: there is no such contrast; there are {', '.join(contrasts)}")
    index = 0 if contrast is None else contrasts.index(contrast)
    own = result.record.options.measure
    if index == 0:
        measured = result.measured
        if measure is not None and measure not in measured:
            raise InputError(
                f"measure={measure!r}: it was not tested; {did_you_mean(measure, measured)}there are "
                f"{', '.join(measured)}"
            )
        return measured[measure or own], result.contrasts[0]
    if measure not in (None, own):
        raise InputError(f"measure={measure!r}: the contrast {contrast} was tested of {own} alone; leave measure out")
    return result.analyses[index], result.contrasts[index]


def _at_threshold(table: pd.DataFrame, threshold: float | None) -> float:
    there = [float(value) for value in table["threshold"].unique()]
    if threshold is None:
        return there[0]
    near = [value for value in there if np.isclose(value, threshold)]
    if not near:
        raise InputError(
            f"threshold={threshold!r}: it was not tested; there {'is' if len(there) == 1 else 'are'} "
            f"{', '.join(f'{value:g}' for value in there)}"
        )
    return near[0]


def sites_read(record: RunRecord) -> tuple[Site, ...]:
    """Return the sites of the model that was run, as far as values of words ask: which of them decode."""
    names = [site.name for site in record.model.sites]
    decoding = {"decoder", *(() if "vision" in names else ("cross",))}
    return tuple(
        Site(site.name, site.layers, site.heads, queries="decoder" if site.name in decoding else "text")
        for site in record.model.sites
    )


def one_head(
    result: RunResult,
    layer: int,
    head: int,
    *,
    site: str | None = None,
    threshold: float | None = None,
    measure: str | None = None,
    contrast: str | None = None,
    view: str | None = None,
) -> OneHead:
    """Gather what there is of one head.

    Parameters
    ----------
    result : RunResult
        Whose cube lies in its folder.
    layer, head : int
        From 1, as heads.csv numbers them.
    site : str or None
        None where the head is in one site alone.
    threshold : float or None
        None for the primary one.
    measure : str or None
        None for the one that the run is about.
    contrast : str or None
        Of a two-by-two design; None for the primary one.
    view : str or None
        None for the whole sequences.

    Returns
    -------
    OneHead

    Raises
    ------
    InputError
        If there is no such head, threshold, measure, contrast or view, with those that there are; if the cube is gone.
    """
    analysis, compared = _chosen(result, measure, contrast, view)
    level = _at_threshold(analysis.heads, threshold)
    at = (analysis.heads["threshold"] == level).to_numpy()
    heads, details = (part[at].reset_index(drop=True) for part in (analysis.heads, analysis.details))
    keys = pick_head(heads, layer, head, site)
    mine = np.flatnonzero(np.all([heads[name] == value for name, value in keys.items()], axis=0))[0]
    row = pd.concat([heads.iloc[mine], details.drop(columns=_KEYS).iloc[mine]])
    options = replace(result.record.options, measure=str(row["measure"]), threshold=(level,))
    cube, sequences = _cube(result, view)
    features = feature_table(cube)
    features = features[np.all([features[name] == value for name, value in keys.items()], axis=0)]
    means = unit_means(cube, features, level, options.measure)
    values = compared.values(means)
    fitted = np.isfinite(row["lmm_estimate"]) and not analysis.over_contexts
    tokens = (
        token_rows(cube, features, level, compared, sequences, options.covariates, options.measure) if fitted else None
    )
    attrs = _attributes(result, row, compared, options, view)
    units = _units(compared, sequences, values[:, 0], result)
    frame = _frame(compared, sequences, means[:, 0], units["unit"].to_numpy())
    units.attrs.update(attrs)
    frame.attrs.update(attrs)
    return OneHead(
        row=row,
        family=heads[heads["site"] == keys["site"]].reset_index(drop=True),
        analysis=analysis,
        contrast=compared,
        options=options,
        model=result.record.model.id,
        several_sites=len(heads["site"].unique()) > 1,
        view=view or "",
        frame=frame,
        units=units,
        tested=values,
        observations=observations_of(cube, features, level, compared, options) if analysis.over_contexts else None,
        tokens=tokens,
    )


def _cube(result: RunResult, view: str | None) -> tuple[xr.Dataset, tuple[Sequence, ...]]:
    """Return the cube that was tested, with the sequences, or words, along it."""
    if result.word_cube is not None:
        return result.word_cube, result.material.units
    cube = load_counts(result.folder / "counts.zarr")
    if view is not None:
        chosen = next(one for one in result.study.views if one.name == view)
        cube = view_cube(cube, chosen, result.material.sequences, sites_read(result.record))
    return cube, result.material.sequences


def _attributes(
    result: RunResult, row: pd.Series[Any], contrast: Contrast, options: Options, view: str | None
) -> dict[str, Any]:
    measure = measure_named(options.measure)
    return {
        "study": result.study.name,
        "model": result.record.model.id,
        "site": str(row["site"]),
        "layer": int(row["layer"]),
        "head": int(row["head"]),
        "threshold": float(row["threshold"]),
        "measure": options.measure,
        "called": measure.called,
        "counted in": measure.fill(measure.unit, unit=options.unit) or "share of the attention",
        "unit": contrast.unit,
        "conditions": [contrast.a.name, contrast.b.name],
        "predictor": contrast.formula if contrast.predictor is not None else None,
        "contrast": contrast.name,
        "view": view,
    }


def _unit_of(contrast: Contrast, sequences: tuple[Sequence, ...], result: RunResult) -> NDArray[np.object_]:
    """Return what each unit is called: by its pair, its cluster, or as the sequence that it is."""
    design = result.study.design
    by = "pair" if design.paired or design.factor is not None else "cluster" if design.clustered else "identifier"
    first = contrast.weights.indices[contrast.weights.indptr[:-1]]
    return np.array([str(getattr(sequences[row], by)) for row in first.tolist()], dtype=object)


def _units(
    contrast: Contrast, sequences: tuple[Sequence, ...], values: NDArray[np.float64], result: RunResult
) -> pd.DataFrame:
    names = np.where(contrast.condition, contrast.a.name, contrast.b.name).astype(object)
    called = _unit_of(contrast, sequences, result)
    table = pd.DataFrame({"unit": called, "condition": names, "value": values})
    if contrast.pair is not None:
        table["pair"] = called
    if contrast.predictor is not None:
        table[contrast.formula] = contrast.predictor
    return _joined(table, contrast.covariates)


def _frame(
    contrast: Contrast, sequences: tuple[Sequence, ...], values: NDArray[np.float64], units: NDArray[np.object_]
) -> pd.DataFrame:
    unit, sequence = contrast.weights.nonzero()
    owner = np.full(len(sequences), None, dtype=object)
    owner[sequence] = units[unit]
    table = pd.DataFrame(
        {
            "sequence": [one.identifier for one in sequences],
            "condition": [one.condition for one in sequences],
            "value": values,
            "unit": owner,
        }
    )
    for name in _LABELS:
        labels = [getattr(one, name) for one in sequences]
        if any(label is not None for label in labels):
            table[name] = labels
    table = _joined(table, pd.DataFrame([dict(one.covariates) for one in sequences]))
    texts = [one.text for one in sequences]
    return table.assign(text=texts) if any(texts) else table


def _joined(table: pd.DataFrame, covariates: pd.DataFrame) -> pd.DataFrame:
    """Put covariates beside, one that bears a name that is taken as covariate_NAME."""
    named = covariates.rename(
        columns={name: f"covariate_{name}" for name in covariates.columns if name in {*table.columns, "text"}}
    )
    return pd.concat([table, named.reset_index(drop=True)], axis=1)
