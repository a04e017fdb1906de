"""The units of one model's run: what a study over many models draws from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.files import written_whole
from metastable.heads.contrasts import Contrast
from metastable.study import Sequence as Read

__all__ = ["ModelUnits", "read_units", "reading_of", "write_units"]

_KEYS = ("measure", "site", "layer", "head")


@dataclass(frozen=True)
class ModelUnits:
    """Values of one model's units in every head and measure, at the primary threshold.

    Attributes
    ----------
    features : pandas.DataFrame of n_features rows
        With columns ``site, layer, head``.
    measured : mapping of str to ndarray of float64, shape (n_units, n_features)
        For each measure that was tested, the run's own first.
    condition : ndarray of bool, shape (n_units,)
        True for a.
    pair : ndarray of int, shape (n_units,), or None
        Joins a unit of a with one of b.
    """

    features: pd.DataFrame = field(repr=False)
    measured: Mapping[str, NDArray[np.float64]] = field(repr=False)
    condition: NDArray[np.bool_] = field(repr=False)
    pair: NDArray[np.intp] | None = field(repr=False)

    @property
    def depth(self) -> NDArray[np.float64]:
        """Middle of each head's layer as a share of the layers of its site, in (0, 1): (layer - 1/2) / layers."""
        layers = self.features.groupby("site", sort=False)["layer"]
        # of a hybrid model the layers with attention alone, in their order
        return ((layers.rank(method="dense") - 0.5) / layers.transform("nunique")).to_numpy(dtype=np.float64)

    @property
    def least_layers(self) -> int:
        """Layers of the site that has the fewest."""
        return int(self.features.groupby("site")["layer"].nunique().min())


def reading_of(sequences: Sequence[Read], contrast: Contrast) -> str:
    """Hash what a model read and how it is joined to units: models of one hash share their units.

    Parameters
    ----------
    sequences : sequence of Sequence
    contrast : Contrast
        The primary contrast.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits, of the texts: two tokenizers may divide the same texts otherwise.
    """
    digest = hashlib.sha256(json.dumps([contrast.name, contrast.a.name, contrast.b.name]).encode())
    for s in sequences:
        row = (s.identifier, s.condition, s.text, s.words, s.cluster, s.pair, s.level, s.context)
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()


def write_units(units: ModelUnits, path: Path) -> None:
    """Write units as a table: ``condition_a``, ``pair`` where there are pairs, and ``measure/site/layer/head``."""
    keys = units.features.astype(str).agg("/".join, axis=1)
    columns: dict[str, NDArray[Any]] = {"condition_a": units.condition}
    if units.pair is not None:
        columns["pair"] = units.pair
    for measure, values in units.measured.items():
        columns |= {f"{measure}/{key}": values[:, place] for place, key in enumerate(keys)}
    with written_whole(path) as temporary:
        pd.DataFrame(columns).to_parquet(temporary, index=False)


def read_units(path: Path) -> ModelUnits:
    """Read what `write_units` wrote.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        table = pd.read_parquet(path)
        condition = table["condition_a"].to_numpy(dtype=bool)
        pair = table["pair"].to_numpy(dtype=np.intp) if "pair" in table else None
        names = [name for name in table.columns if "/" in name]
        rows = pd.DataFrame([name.split("/") for name in names], columns=list(_KEYS))
        rows = rows.astype({"layer": np.int64, "head": np.int64})
        values = {
            str(measure): np.ascontiguousarray(table[[names[i] for i in mine.index]].to_numpy(dtype=np.float64))
            for measure, mine in rows.groupby("measure", sort=False)
        }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete its folder and run the models again") from None
    features = rows.loc[rows["measure"] == rows["measure"].iloc[0], ["site", "layer", "head"]].reset_index(drop=True)
    return ModelUnits(features, values, condition, pair)
