"""More than two conditions: one test of whether they differ at all, and every pair of them, corrected together."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.extraction.store import load_counts
from metastable.files import write_text, written_together
from metastable.heads.cube import feature_table, unit_means
from metastable.heads.one_head import pick_head
from metastable.heads.record import ConditionsRecord, with_files, write_record
from metastable.heads.results import RunResult
from metastable.progress import Silent, Stages
from metastable.report.conditions_page import condition_sentences, render_conditions
from metastable.report.conditions_plates import PLATES, AllAtOnce, SeveralConditions
from metastable.report.index import write_index
from metastable.report.one_file import write_html
from metastable.report.plate import placed_plates, save_plates
from metastable.runs.clock import Clock
from metastable.runs.notebook_head import ConditionsHead
from metastable.runs.study import run_study
from metastable.runs.writing_alone import writing_alone
from metastable.stats.analysis import primary
from metastable.stats.balance import unbalanced
from metastable.stats.corrections import adjust_p_values
from metastable.stats.several_groups import several_groups_test
from metastable.study import Options, Study

__all__ = ["ConditionsResult", "run_conditions"]

_PLAIN = re.compile(r"[^A-Za-z0-9.-]+")


@dataclass(frozen=True)
class ConditionsResult:
    """What was found of several conditions.

    Attributes
    ----------
    folder : Path
        Where report.md and the tables lie.
    omnibus : pandas.DataFrame
        One row per head: ``site, layer, head``, the mean of each condition, ``F, df1, df2, p_welch`` (by the F
        distribution), ``p_perm``, ``p_perm_fwer`` and ``p_perm_fdr`` (by the run's correction). Empty where it could
        not be had.
    pairs : pandas.DataFrame
        One row per pair and head: ``a, b, site, layer, head, difference, hedges_g, p_perm``, and ``p_all_pairs``,
        corrected over the heads of all pairs together.
    contrasts : pandas.DataFrame
        One row per pair: ``a, b``, its omnibus p over all heads, the same corrected over pairs (Holm), how many heads
        differ, and ``unlike``, a tuple of the covariates in which the two are not alike.
    p_all : float
        Whether the conditions differ in any head; NaN where it could not be had.
    results : dict of (str, str) to RunResult
        The run of each pair.
    sentences : tuple of str
        What was found, in words.
    """

    folder: Path
    omnibus: pd.DataFrame
    pairs: pd.DataFrame
    contrasts: pd.DataFrame
    p_all: float
    results: dict[tuple[str, str], RunResult] = field(repr=False)
    sentences: tuple[str, ...] = ()

    def head(self, layer: int, head: int, *, site: str | None = None) -> ConditionsHead:
        """Return one head in all conditions: its data, the standard tools beside its numbers, and a paragraph.

        Parameters
        ----------
        layer, head : int
            Counted from 1, as in omnibus.csv.
        site : str or None
            Attention site; needed where several have such a head.

        Returns
        -------
        ConditionsHead

        Raises
        ------
        InputError
            If there is no such head, with the ranges that there are; or no test of all conditions at once.
        """
        if self.omnibus.empty:
            a, b = next(iter(self.results))
            raise InputError(
                f"the conditions were not tested all at once; look at two: metastable.Result(result.results[{a!r}, "
                f"{b!r}]).head({layer}, {head})"
            )
        keys = pick_head(self.omnibus, layer, head, site)
        first = next(iter(self.results.values()))
        settled = first.record.options
        columns = [str(column) for column in self.omnibus.columns]
        names = tuple(column.removeprefix("mean_") for column in columns if column.startswith("mean_"))
        features, values = _unit_values(names, self.results, settled.measure, settled.threshold[0])
        values, block = _whole_blocks(values, len(names), paired=first.study.design.paired)
        at = int(np.flatnonzero(np.all([features[name] == value for name, value in keys.items()], axis=0))[0])
        frame = pd.DataFrame(
            {
                "unit": values.index.get_level_values("unit"),
                "condition": values.index.get_level_values("condition"),
                "value": values.iloc[:, at].to_numpy(dtype=np.float64),
            }
        )
        frame.attrs.update(keys, measure=settled.measure, unit=first.contrast.unit, conditions=list(names))
        mine = np.all([self.omnibus[name] == value for name, value in keys.items()], axis=0)
        of_pairs = np.all([self.pairs[name] == value for name, value in keys.items()], axis=0)
        return ConditionsHead(
            row=self.omnibus[mine].iloc[0],
            frame=frame,
            conditions=names,
            blocks=block is not None,
            n_permutations=settled.permutations,
            seed=settled.seed,
            alpha=settled.alpha,
            model=first.record.model.id,
            pairs=self.pairs[of_pairs].reset_index(drop=True),
        )

    def __str__(self) -> str:
        return " ".join(self.sentences)


def run_conditions(
    conditions: Sequence[str],
    study_of: Callable[[str, str, str], Study],
    options: Options,
    *,
    name: str,
    taken: Collection[str] = (),
    stages: Stages | None = None,
    command: str = "",
) -> ConditionsResult | None:
    """Compare more than two conditions: run every pair, test all at once, and correct the pairs together.

    Parameters
    ----------
    conditions : sequence of str
    study_of : callable
        ``study_of(a, b, name)`` makes the study of two of them.
    options : Options
    name : str
        Of the folder that receives what is found; those of the pairs are called ``NAME_A_B``.
    taken : collection of str
        Names of studies, whose folders are not written to.
    stages : Stages or None
        Listener for progress.
    command : str
        What was typed.

    Returns
    -------
    ConditionsResult or None
        None in the processes that torchrun started beside the first.

    Raises
    ------
    InputError
        For anything that the user can mend, before anything is counted where it can be known.
    """
    stages = stages or Silent()
    named = [(a, b, _folder(name, a, b)) for a, b in combinations(conditions, 2)]
    folders = [folder for _, _, folder in named]
    doubled = next((folder for folder in folders if folders.count(folder) > 1 or folder in taken), None)
    if doubled is not None:
        raise InputError(
            f"two reports would lie in {doubled}; give the conditions names that differ in letters or digits"
        )
    # all are made before the first is run, so that what is wrong with the last is told at once
    studies = {(a, b): study_of(a, b, folder) for a, b, folder in named}
    if any(study.design.factor is not None for study in studies.values()):
        raise InputError(
            "several conditions and a second factor are not tested at once; pick two conditions by --a and --b, or "
            "give --level-column none"
        )
    results: dict[tuple[str, str], RunResult] = {}
    for place, ((a, b), study) in enumerate(studies.items(), start=1):
        stages.say(f"{a} and {b}, {place} of {len(studies)} pairs")
        own = {**options.own, "a": a, "b": b, "name": study.name}
        found = run_study(study, replace(options, own=own), stages=stages, command=_of_pair(command, a, b, study.name))
        if found is None:
            return None
        results[a, b] = found
    clock = Clock(stages)
    folder = Path(options.out) / name
    with clock.stage("conditions", "all conditions at once") as advance:
        omnibus, p_all, tested = _omnibus(conditions, results)
        pairs, contrasts = _pairs(results, options)
        made = ConditionsResult(folder, omnibus, pairs, contrasts, p_all, results)
        settled = next(iter(results.values())).record.options
        several = SeveralConditions(tuple(conditions), omnibus, pairs, settled, tested)
        sentences = condition_sentences(several, contrasts, p_all)
        made = replace(made, sentences=sentences)
        record = _record(made, conditions, options, settled, folders, command)
        plates = placed_plates(PLATES, several)
        with writing_alone(folder), written_together(folder, "conditions.json") as staged:
            listed_unlike = contrasts.assign(unlike=contrasts["unlike"].map("; ".join))
            for stem, table in (("omnibus", omnibus), ("pairs", pairs), ("contrasts", listed_unlike)):
                write_text(staged / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n"))
            save_plates(plates, staged, advance)
            of_pairs = dict(zip(results, folders, strict=True))
            text = render_conditions(several, contrasts, sentences, command, of_pairs, plates)
            write_text(staged / "report.md", text)
            write_html(staged / "report.md", folder)
            write_record(with_files(record, staged), staged / "conditions.json")
            # a table that had two conditions before has left a report here, whose page is about to go
            (folder / "run.json").unlink(missing_ok=True)
    write_index(folder.parent, stages.say)
    return made


def _record(
    made: ConditionsResult,
    conditions: Sequence[str],
    options: Options,
    settled: Options,
    folders: Sequence[str],
    command: str,
) -> ConditionsRecord:
    """Return what conditions.json holds, but for the files."""
    tested, alpha = not made.omnibus.empty, settled.alpha
    return ConditionsRecord(
        command=command,
        conditions=tuple(conditions),
        options=options.to_json(),
        reports=tuple(folders),
        sentences=made.sentences,
        heads=len(made.omnibus),
        heads_different=int((made.omnibus["p_perm_fdr"] < alpha).sum()) if tested else 0,
        pairs_different=int((made.contrasts["p_all_heads_holm"] < alpha).sum()),
        p_all=None if np.isnan(made.p_all) else made.p_all,
    )


def _folder(name: str, a: str, b: str) -> str:
    return "_".join([name, *(_PLAIN.sub("-", one).strip("-") or "x" for one in (a, b))])


def _of_pair(command: str, a: str, b: str, name: str) -> str:
    """Write the command that runs one pair alone."""
    if not command or command.endswith(")"):
        return command
    return f"{command} --a {shlex.quote(a)} --b {shlex.quote(b)} --name {name}"


def _unit_values(
    conditions: Sequence[str], results: dict[tuple[str, str], RunResult], measure: str, threshold: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the heads, and the values of every unit of every condition: (condition, unit) by heads."""
    features = pd.DataFrame()
    parts = []
    for condition in conditions:
        result = next(found for pair, found in results.items() if condition in pair)
        cube = load_counts(result.folder / "counts.zarr")
        features = feature_table(cube)
        means = unit_means(cube, features, threshold, measure)
        sequences = result.material.sequences
        design = result.study.design
        units = [
            one.pair if design.paired else one.cluster if design.clustered else one.identifier for one in sequences
        ]
        mine = np.array([one.condition == condition for one in sequences])
        table = pd.DataFrame(means[mine])
        table.insert(0, "unit", [unit for unit, here in zip(units, mine, strict=True) if here])
        parts.append(table.groupby("unit", sort=False).mean().assign(condition=condition).reset_index())
    return features, pd.concat(parts, ignore_index=True).set_index(["condition", "unit"])


def _whole_blocks(
    values: pd.DataFrame, n_conditions: int, *, paired: bool
) -> tuple[pd.DataFrame, NDArray[np.str_] | None]:
    """Keep of units that are compared within themselves those that every condition has; and which unit a row is of."""
    if not paired:
        return values, None
    sizes = values.groupby(level="unit").size()
    whole = sizes.index[sizes == n_conditions]
    kept = values[values.index.get_level_values("unit").isin(whole)]
    return kept, kept.index.get_level_values("unit").to_numpy().astype(str)


def _omnibus(
    conditions: Sequence[str], results: dict[tuple[str, str], RunResult]
) -> tuple[pd.DataFrame, float, AllAtOnce]:
    """Test all conditions at once; where that cannot be done say why."""
    first = next(iter(results.values()))
    designs = {(found.study.design.paired, found.study.design.clustered) for found in results.values()}
    tested = AllAtOnce(first.contrast.unit, within=first.study.design.paired)
    if len(designs) > 1:
        reason = "some pairs of conditions share their units and others do not"
        return pd.DataFrame(), float("nan"), replace(tested, reason=reason)
    if first.contrast.predictor is not None:
        return pd.DataFrame(), float("nan"), replace(tested, reason="the effect is a slope")
    settled = first.record.options
    features, values = _unit_values(conditions, results, settled.measure, settled.threshold[0])
    values, block = _whole_blocks(values, len(conditions), paired=first.study.design.paired)
    if block is not None and len(set(block)) <= len(conditions):
        reason = f"{len(set(block))} {tested.unit}s have texts in every condition"
        return pd.DataFrame(), float("nan"), replace(tested, reason=reason)
    labels = values.index.get_level_values("condition").to_numpy().astype(str)
    kept = values.to_numpy(dtype=np.float64)
    found = several_groups_test(
        kept,
        labels,
        block=block,
        family=pd.factorize(features["site"])[0],
        n_permutations=settled.permutations,
        rng=settled.seed,
    )
    site = pd.factorize(features["site"])[0]
    table = features[["site", "layer", "head"]].reset_index(drop=True)
    for name in conditions:
        table[f"mean_{name}"] = kept[labels == name].mean(axis=0)
    return (
        table.assign(
            F=found.statistic,
            df1=found.df1,
            df2=found.df2,
            p_welch=found.p_parametric,
            p_perm=found.p,
            p_perm_fwer=found.p_fwer,
            p_perm_fdr=adjust_p_values(found.p, method=settled.correction, family=site, alpha=settled.alpha),
        ),
        found.p_all,
        tested,
    )


def _pairs(results: dict[tuple[str, str], RunResult], options: Options) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather the heads of all pairs and correct them together; and the pairs, each with its omnibus p."""
    heads, rows = [], []
    for (a, b), found in results.items():
        table = primary(found.analysis.heads)
        effect = found.analysis.effect
        columns = ["site", "layer", "head", effect.estimate, effect.size, "p_perm", "p_perm_fdr", "verdict"]
        heads.append(table[columns].assign(a=a, b=b))
        omnibus = primary(found.analysis.omnibus)
        p = float(omnibus.loc[omnibus["site"] == "all", "p_sum_squares"].iloc[0])
        rows.append(
            {
                "a": a,
                "b": b,
                "n_a": found.contrast.n_a,
                "n_b": found.contrast.n_b,
                "unlike": unbalanced(found.balance),
                "p_all_heads": p,
            }
        )
    together = pd.concat(heads, ignore_index=True)
    together["p_all_pairs"] = adjust_p_values(
        together["p_perm"].to_numpy(),
        method=options.correction,
        family=pd.factorize(together["site"])[0],
        alpha=options.alpha,
    )
    together = together[["a", "b", *(name for name in together.columns if name not in ("a", "b"))]]
    contrasts = pd.DataFrame(rows)
    contrasts["p_all_heads_holm"] = adjust_p_values(contrasts["p_all_heads"].to_numpy(), method="holm")
    differ = together.assign(differs=together["p_all_pairs"] < options.alpha)
    contrasts["heads_different"] = [
        int(differ.loc[(differ["a"] == row["a"]) & (differ["b"] == row["b"]), "differs"].sum())
        for row in contrasts.to_dict("records")
    ]
    return together, contrasts
