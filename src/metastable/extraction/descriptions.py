"""What each variable and coordinate of a cube of counts is, for whoever opens it in a notebook."""

from __future__ import annotations

import xarray as xr

from metastable.extraction.sequence_labels import GROUPINGS
from metastable.measures import known_measures, measure_named
from metastable.study.covariate_names import COVARIATE_NAMES

__all__ = ["describe"]

_AXES = {
    "sequence": "identifier of the sequence",
    "site": "attention site of the model",
    "layer": "number of the layer in the model, from 1",
    "head": "head of the layer, from 1",
    "threshold": "share of a row's mass that the count reaches",
}
_NO_QUERY = "where the token is no query: padding, or a token that was not asked"
_NO_HEAD = "NaN where the site has no such layer or head"


def describe(dataset: xr.Dataset, covariates: dict[str, str]) -> xr.Dataset:
    """Say of each variable and coordinate what it is, what it is counted in, and what a missing value means.

    Parameters
    ----------
    dataset : xarray.Dataset
        A cube of counts; its own attributes say what a row's entries are.
    covariates : dict of str to str
        Names of the covariates by those of their coordinates.

    Returns
    -------
    xarray.Dataset
        The same, with ``long_name``, ``units`` and ``missing`` among the attributes of each variable, and the
        ``description`` of each measure.
    """
    for name, long_name in _AXES.items():
        dataset[name].attrs["long_name"] = long_name
    for name, long_name in GROUPINGS.items():
        if name in dataset.coords:
            dataset[name].attrs |= {"long_name": long_name, "missing": "empty where the sequence has none"}
    for name, covariate in covariates.items():
        dataset[name].attrs |= {
            "long_name": COVARIATE_NAMES.get(covariate, covariate.replace("_", " ")),
            "missing": "NaN where the sequence has no such covariate",
        }
    unit = str(dataset.attrs.get("unit", "tokens"))
    for name in map(str, dataset.data_vars):
        # of a measure whose package is not installed here nothing is known
        if name.removeprefix("mean_") in known_measures().measures:
            dataset[name].attrs |= _of_measure(name, unit)
    return dataset


def _of_measure(name: str, unit: str) -> dict[str, str]:
    measure = measure_named(name.removeprefix("mean_"))
    text = {
        "long_name": measure.called,
        "description": measure.fill(measure.definition, unit=unit, share="the threshold's share"),
        "units": measure.fill(measure.unit, unit=unit),
        "missing": f"{'0' if measure.whole else 'NaN'} {_NO_QUERY}",
    }
    if name == measure.name:
        return text
    return text | {"long_name": f"mean {measure.called} over the sequence's query tokens", "missing": _NO_HEAD}
