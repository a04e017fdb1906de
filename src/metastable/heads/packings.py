"""How the verdict on each head moves over the packings of the words, each packing tested by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.heads.contrasts import contrasts_of
from metastable.heads.head_tests import analyse_cube, side_histograms
from metastable.progress import Advance
from metastable.stats.analysis import Analysis, primary
from metastable.stats.effect_kinds import effect_of
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE
from metastable.study import Material, Options, Study

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["POOLED", "PackingVerdicts", "directed", "packing_rows", "verdicts_over_packings"]

POOLED = "all"
"""What the rows of the words over all packings have in the place of a packing's number."""


@dataclass(frozen=True)
class PackingVerdicts:
    """The tests of each packing by itself beside those of the words.

    Attributes
    ----------
    table : pandas.DataFrame
        As packings.csv holds it: one row per packing and head, then one per head of the words over all packings, whose
        `packing` is `POOLED`: ``packing, unit, n_a, n_b, site, layer, head, threshold, measure``, the estimate and the
        standardized size by their names in heads.csv, ``p_perm, p_perm_fdr, verdict, design_effect``. The design effect
        is that of the words (`metastable.stats.shared_noise`), NaN for sequences.
    """

    table: pd.DataFrame

    @property
    def single(self) -> pd.DataFrame:
        """Verdict of each head (rows) in each packing (columns), with its direction: "different, +", for instance."""
        rows = self.table[self.table["packing"] != POOLED]
        return pd.DataFrame(
            {str(packing): directed(mine) for packing, mine in rows.groupby("packing", sort=False)},
            index=pd.MultiIndex.from_frame(self.pooled[["site", "layer", "head"]]),
        )

    @property
    def pooled(self) -> pd.DataFrame:
        """The rows of the words over all packings."""
        return self.table[self.table["packing"] == POOLED].reset_index(drop=True)

    @property
    def agreeing(self) -> NDArray[np.bool_]:
        """Whether all packings have the same verdict on a head, in the same direction: shape (n_heads,).

        A head that differs negligibly differs here.
        """
        return np.asarray(self.single.nunique(axis=1).to_numpy() == 1)

    @property
    def n_different(self) -> list[int]:
        """Number of heads that each packing by itself calls different, negligibly or not."""
        return [int(count) for count in self.differing.sum(axis=0)]

    @property
    def differing(self) -> NDArray[np.bool_]:
        """Whether each packing by itself calls each head different, negligibly or not: shape (n_heads, n_packings)."""
        verdicts = self.single
        return np.column_stack([verdicts[name].str.startswith(DIFFERENT).to_numpy() for name in verdicts])


def directed(rows: pd.DataFrame) -> NDArray[np.object_]:
    """Return the verdicts of heads, that of one that differs, negligibly or not, with its sign: shape (n_heads,)."""
    verdicts = rows["verdict"].to_numpy().astype(object)
    sign = np.where(rows[effect_of(rows).estimate] > 0, f"{DIFFERENT}, +", f"{DIFFERENT}, −").astype(object)
    return np.where(np.isin(verdicts, [DIFFERENT, NEGLIGIBLE]), sign, verdicts)


def packing_rows(analysis: Analysis, packing: str, unit: str) -> pd.DataFrame:
    """Return the rows of one packing, as `PackingVerdicts.table` holds them.

    Parameters
    ----------
    analysis : Analysis
        Its tests.
    packing : str
        Its number, or `POOLED`.
    unit : str
        What was tested.

    Returns
    -------
    pandas.DataFrame
    """
    heads, effect = primary(analysis.heads), analysis.effect
    names = ["n_a", "n_b", "site", "layer", "head", "threshold", "measure", effect.estimate, effect.size]
    table = heads[[*names, "p_perm", "p_perm_fdr", "verdict"]].copy()
    table.insert(0, "unit", unit)
    table.insert(0, "packing", packing)
    return table


def verdicts_over_packings(
    cube: xr.Dataset,
    study: Study,
    material: Material,
    options: Options,
    words: Analysis,
    design_effect: NDArray[np.float64],
    advance: Advance,
) -> PackingVerdicts:
    """Test each packing by itself, as a run of one packing does, and put the tests of the words beside it.

    Parameters
    ----------
    cube : xarray.Dataset
        Of the sequences of all packings, as `metastable.load_counts` opens it.
    study : Study
    material : Material
        With several packings.
    options : Options
        Of which the primary threshold is tested.
    words : Analysis
        The tests of the words.
    design_effect : ndarray of float64, shape (n_features,)
        Of the words.
    advance : callable
        Told of progress as ``f(done, total)``.

    Returns
    -------
    PackingVerdicts
    """
    own = replace(options, threshold=options.threshold[:1])
    of_packing = np.array([one.packing for one in material.sequences])
    tables = []
    for number in range(1, material.packings + 1):

        def tell(done: int, total: int, number: int = number) -> None:
            advance((number - 1) * total + done, material.packings * total)

        places = np.flatnonzero(of_packing == str(number))
        sequences = tuple(material.sequences[place] for place in places)
        part, contrast = cube.isel(sequence=places), contrasts_of(study, sequences)[0]
        histograms = side_histograms(part, contrast.sides, own.threshold)
        found = analyse_cube(part, contrast, sequences, own, histograms, tell, with_mixed_models=False)
        tables.append(packing_rows(found, str(number), contrast.unit))
    unit = "word pair" if study.design.paired else "word"
    # design effects lie in the order of the heads
    tables.append(packing_rows(words, POOLED, unit).assign(design_effect=design_effect))
    return PackingVerdicts(pd.concat(tables, ignore_index=True))
