"""A finished report read back from its folder, without any model."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from metastable.errors import InputError, one_line
from metastable.heads.record import ContrastRecord, RunRecord, record_kind, require_whole, run_command
from metastable.stats.balance import balance_table
from metastable.stats.effect_kinds import DIFFERENCE, SLOPE, Effect

__all__ = ["INPUTS", "FinishedReport", "find_report", "read_report", "rows_at"]

INPUTS = ("run.json", "heads.csv", "details.csv", "sequences.parquet")
"""The files that are read."""

KEYS = ["site", "layer", "head", "threshold", "measure"]
_COUNTED = ("layer", "head", "threshold", "n_a", "n_b", "n_tokens")
_TEXTS = ("site", "measure", "verdict", "condition", "cluster", "pair", "level", "text")
_TESTED = ("n_a", "n_b", "p_perm", "p_perm_fdr", "verdict")


@dataclass(frozen=True)
class FinishedReport:
    """What a study left behind.

    Attributes
    ----------
    folder : Path
    record : RunRecord
        What run.json holds.
    measure : str
        What is looked at: what the run was about, unless `about` says otherwise.
    of_measure : mapping of str to pandas.DataFrame
        For each measure that was tested, the run's own first, the rows of heads.csv, with the columns of the effect
        under names that fit any effect: ``estimate``, ``size``, ``size_low`` and ``size_high``.
    effect : Effect
        What was tested.
    balance : pandas.DataFrame
        Of the covariates in sequences.parquet, averaged over the units of the primary contrast, as
        `metastable.stats.balance.balance_table` returns it; empty where none was recorded.
    words : frozenset of str
        Distinct words of all texts, in lower case.
    tokens_per_unit : float
        Tokens, special ones included, that a unit of the primary contrast averages over, on average.
    sha256 : mapping of str to str
        Hash of each file that was read.
    """

    folder: Path
    record: RunRecord = field(repr=False)
    measure: str
    of_measure: Mapping[str, pd.DataFrame] = field(repr=False)
    effect: Effect
    balance: pd.DataFrame = field(repr=False)
    words: frozenset[str] = field(repr=False)
    tokens_per_unit: float
    sha256: Mapping[str, str] = field(repr=False)

    @property
    def shape(self) -> tuple[tuple[str, int, int], ...]:
        """Name, layers and heads of each attention site."""
        return tuple((site.name, site.layers, site.heads) for site in self.record.model.sites)

    @property
    def heads(self) -> pd.DataFrame:
        """Rows of the measure that is looked at."""
        return self.of_measure[self.measure]

    def about(self, measure: str) -> FinishedReport:
        """Return the same report with another of its measures looked at."""
        return replace(self, measure=measure)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds of its table of heads, the primary one first."""
        return tuple(float(threshold) for threshold in self.heads["threshold"].unique())


def find_report(given: str, out: Path, studies: Collection[str]) -> Path:
    """Return the folder of a report.

    Parameters
    ----------
    given : str
        Its name below `out`, or a path.
    out : Path
        The folder that holds a folder for each report.
    studies : collection of str
        Names of the studies that could be run.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is no such folder; it says what to run, or what there is.
    """
    for folder in (out / given, Path(given)):
        if folder.is_dir():
            return folder
    if given in studies:
        raise InputError(f"there is no report of {given} in {out}; run it first: {run_command(given, out)}")
    there = sorted(path.parent.name for path in out.glob("*/run.json"))
    raise InputError(
        f"there is no report {given!r} in {out} and no such folder; "
        + (f"{out} holds {', '.join(there)}" if there else f"{out} holds none, so run a study first")
    )


def _record(folder: Path, contents: Mapping[str, bytes]) -> RunRecord:
    path = folder / "run.json"
    if (kind := record_kind(path)) != "run":
        raise InputError(f"{folder} holds a {kind}; compare two reports of studies")
    record = RunRecord.read(path)
    require_whole(record, path)
    for name in INPUTS[1:]:
        # of what was read, since another run may replace the files meanwhile
        if record.files.get(name) != hashlib.sha256(contents[name]).hexdigest():
            raise InputError(f"{name} in {folder} is not the file that run.json was written with; try again")
    return record


def _table(path: Path, content: bytes, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = (
            pd.read_parquet(BytesIO(content))
            if path.suffix == ".parquet"
            else pd.read_csv(BytesIO(content), low_memory=False)
        )
    except Exception as error:  # of pandas and pyarrow, each of which raises what it likes
        raise InputError(f"{path} cannot be read ({one_line(error)}); run its study again") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(f"{path} lacks the column {missing[0]!r}; run its study again")
    if table.empty:
        raise InputError(f"{path} holds no row; run its study again")
    for column in columns:
        known = table[column].notna().all() or column not in _COUNTED
        if column not in _TEXTS and not (pd.api.types.is_numeric_dtype(table[column]) and known):
            raise InputError(f"{path} holds what is no number as {column!r}; run its study again")
    return table


def _units(sequences: pd.DataFrame, contrast: ContrastRecord) -> tuple[list[str], pd.Series]:
    """Columns that name the units of a contrast, and the side (True for a) of each sequence."""
    a, condition = contrast.a, sequences["condition"]
    if contrast.name == "interaction":  # the differences within units, a: "X - Y in CONDITION"
        return ["pair"], condition.map(lambda name: str(a).endswith(f" in {name}")).astype(bool)
    if contrast.name != "condition":
        return ["pair", "level"], sequences["level"] == a
    by = "pair" if sequences["pair"].notna().all() else "cluster"
    return [by, "condition"], condition == a


def _balance(sequences: pd.DataFrame, contrast: ContrastRecord, n_units: int) -> pd.DataFrame:
    known = {"n_tokens", "n_words", contrast.predictor}
    covariates = [str(name) for name in sequences.select_dtypes("number").columns if name not in known]
    if not covariates:
        return pd.DataFrame()
    keys, side = _units(sequences, contrast)
    table = sequences[covariates].assign(side=side)
    paired = keys[0] == "pair" and contrast.name != "interaction" and sequences["pair"].notna().all()
    if n_units != len(sequences):
        table = table.groupby([sequences[key] for key in keys], observed=True, sort=False).mean()
    in_a = (table["side"] > 0.5).to_numpy()
    if len(table) != n_units or min(in_a.sum(), (~in_a).sum()) < 2:
        return pd.DataFrame()
    # One row for each side of a pair is a pair of rows; sequences that stand alone have no partner.
    pair = table.index.get_level_values(0).to_numpy() if paired and isinstance(table.index, pd.MultiIndex) else None
    sizes = None if pair is None else pd.Series(in_a).groupby(pair).agg(["size", "sum"])
    if sizes is None or not ((sizes["size"] == 2) & (sizes["sum"] == 1)).all():
        pair = None
    return balance_table(table[covariates], in_a, pair=pair)


def read_report(folder: Path) -> FinishedReport:
    """Read the record and the tables that a finished study left.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    FinishedReport

    Raises
    ------
    InputError
        If the study did not finish, a file cannot be read, or the tables do not belong together.
    """
    absent = [name for name in INPUTS if not (folder / name).is_file()]
    if absent:
        raise InputError(
            f"the report in {folder} is not finished: it lacks {absent[0]}; run it first: "
            + run_command(folder.name, folder.parent)
        )
    contents = {name: (folder / name).read_bytes() for name in INPUTS}
    record = _record(folder, contents)

    def table_of(name: str, *columns: str) -> pd.DataFrame:
        return _table(folder / name, contents[name], columns)

    effect = SLOPE if record.contrast.predictor is not None else DIFFERENCE
    heads = table_of("heads.csv", *KEYS, *_TESTED, effect.estimate, effect.size)
    details = table_of("details.csv", *KEYS, effect.size_low, effect.size_high)
    if not heads[KEYS].equals(details[KEYS]):
        raise InputError(f"heads.csv and details.csv in {folder} hold other heads; run its study again")
    if heads.duplicated(KEYS).any():
        raise InputError(f"{folder / 'heads.csv'} holds a head twice; run its study again")
    own = str(heads["measure"].iloc[0])
    table = heads.rename(columns={effect.estimate: "estimate", effect.size: "size"}).assign(
        size_low=details[effect.size_low], size_high=details[effect.size_high]
    )
    of_measure = {str(name): rows for name, rows in table.groupby("measure", sort=False)}
    n_heads = sum(site.layers * site.heads for site in record.model.sites)
    sites = {site.name for site in record.model.sites}
    for rows in of_measure.values():
        if len(rows) != n_heads * rows["threshold"].nunique() or set(rows["site"]) != sites:
            raise InputError(f"heads.csv and run.json in {folder} are of two runs; run its study again")
    sequences = table_of("sequences.parquet", "condition", "cluster", "pair", "level", "text", "n_tokens")
    n_units = int(heads["n_a"].iloc[0] + heads["n_b"].iloc[0])
    return FinishedReport(
        folder=folder,
        record=record,
        measure=own,
        of_measure=of_measure,
        effect=effect,
        balance=_balance(sequences, record.contrast, n_units),
        words=frozenset(word for text in sequences["text"] for word in str(text).lower().split()),
        tokens_per_unit=float(sequences["n_tokens"].sum()) / n_units,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    )


def rows_at(heads: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the rows of a table of heads at one threshold, which may have been rounded in writing."""
    rows: pd.DataFrame = heads[np.isclose(heads["threshold"], threshold)]
    return rows.assign(threshold=threshold)
