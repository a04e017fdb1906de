"""The tables that a run leaves behind."""

from __future__ import annotations

import pandas as pd

from metastable.files import write_text, written_whole
from metastable.heads.modes import founding_bands
from metastable.heads.results import RunResult
from metastable.heads.spread import Spread
from metastable.stats.analysis import primary
from metastable.study import Sequence

__all__ = ["mode_table", "sequence_table", "write_tables"]


def sequence_table(sequences: tuple[Sequence, ...]) -> pd.DataFrame:
    """Return one row per sequence, as sequences.parquet holds it."""
    table = pd.DataFrame(
        {
            "sequence": [s.identifier for s in sequences],
            "condition": [s.condition for s in sequences],
            "cluster": [s.cluster for s in sequences],
            "pair": [s.pair for s in sequences],
            "level": [s.level for s in sequences],
            "context": [s.context for s in sequences],
            "packing": [s.packing for s in sequences],
            "text": [s.text for s in sequences],
            "n_tokens": [len(s.token_ids) for s in sequences],
            "n_words": [len(s.words) for s in sequences],
            "token_ids": [list(s.token_ids) for s in sequences],
            "word_index": [list(s.word_index) for s in sequences],
            "target": [list(s.target) for s in sequences],
            "target_b": [list(s.target_b) for s in sequences],
            "segment_ids": [list(s.segment_ids) for s in sequences],
        }
    ).astype(dict.fromkeys(("cluster", "pair", "level", "context", "packing"), "string"))
    return table.join(pd.DataFrame([dict(s.covariates) for s in sequences]))


def mode_table(result: RunResult, spread: Spread) -> pd.DataFrame:
    """Return the operating mode of every head in either condition, as modes.csv holds it.

    Parameters
    ----------
    result : RunResult
    spread : Spread
        That of the result.

    Returns
    -------
    pandas.DataFrame
        One row per condition and head: ``condition, site, layer, head, threshold``; ``fewest_keys, usual_keys,
        most_keys`` that a query sees (of both conditions); ``share_q1, share_median, share_q3``, the quartiles over
        tokens of the count as a share of these keys; ``mode``, by `share_median`; ``founding_band``, from 1.
    """
    contrast = result.contrast
    heads = primary(result.analysis.heads)[["site", "layer", "head"]]
    sides = []
    for side, condition in enumerate((contrast.a, contrast.b)):
        quartiles = spread.quartiles[side]
        table = heads.assign(
            threshold=result.record.options.threshold[0],
            fewest_keys=spread.fewest,
            usual_keys=spread.usual,
            most_keys=spread.most,
            share_q1=quartiles[:, 0],
            share_median=quartiles[:, 1],
            share_q3=quartiles[:, 2],
            mode=spread.modes[side],
            founding_band=founding_bands(quartiles[:, 1], 1),
        )
        table.insert(0, "condition", condition.name)
        sides.append(table)
    return pd.concat(sides, ignore_index=True)


def write_tables(result: RunResult) -> None:
    """Write the tables of heads, layers and omnibus tests of each contrast and view, the modes, and the sequences.

    The primary contrast's tables hold the rows of the measure that the run is about, then those of the others that
    were tested; the tables of other contrasts and of views hold one measure.
    """
    # the primary contrast's files have the plain names
    suffixes = ["", *(f"_{contrast.name}" for contrast in result.contrasts[1:])]
    suffixes += [f"_{view.name}" for view in result.study.views]
    analyses = (result.tables, *result.analyses[1:], *result.views)
    for suffix, analysis in zip(suffixes, analyses, strict=True):
        for name, table in (
            ("heads", analysis.heads),
            ("details", analysis.details),
            ("layers", analysis.layers),
            ("omnibus", analysis.omnibus),
        ):
            # repr's shortest digits give every float back exactly, so the means equal the cube's
            write_text(result.folder / f"{name}{suffix}.csv", table.to_csv(index=False, lineterminator="\n"))
        with written_whole(result.folder / f"heads{suffix}.parquet") as path:
            analysis.heads.to_parquet(path, index=False)
    if result.spread is None:
        (result.folder / "modes.csv").unlink(missing_ok=True)  # of a run that kept tokens
    else:
        table = mode_table(result, result.spread)
        write_text(result.folder / "modes.csv", table.to_csv(index=False, lineterminator="\n"))
    if result.sink_held is not None:
        write_text(result.folder / "sink_held.csv", result.sink_held.to_csv(index=False, lineterminator="\n"))
    if result.packings is not None:
        write_text(result.folder / "packings.csv", result.packings.table.to_csv(index=False, lineterminator="\n"))
    if result.sensitivity is not None:
        write_text(result.folder / "sensitivity.csv", result.sensitivity.curve.to_csv(index=False, lineterminator="\n"))
    with written_whole(result.folder / "sequences.parquet") as path:
        sequence_table(result.material.sequences).to_parquet(path, index=False)
