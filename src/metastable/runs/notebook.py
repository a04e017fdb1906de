"""A study run from Python, and what it found at hand: tables, verdict, report and figures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from metastable.heads.one_head import one_head
from metastable.heads.record import RunVerdict
from metastable.heads.results import RunResult
from metastable.material.table_study import FILE_OPTIONS, TableFile, read_file, study_name, study_of
from metastable.material.tables import is_table_file, table_of_frame
from metastable.material.texts import table_texts
from metastable.progress import Silent, Stages
from metastable.report.plate import draw_named
from metastable.report.run.plates import run_plates
from metastable.report.run.verdict_sentences import verdict_sentences
from metastable.runs.conditions import ConditionsResult, run_conditions
from metastable.runs.notebook_head import Head
from metastable.runs.progress_bars import RichStages
from metastable.runs.study import run_study
from metastable.stats.verdict import VERDICTS
from metastable.study import Study
from metastable.study.options import check_option
from metastable.study.own_options import check_options, options_for
from metastable.study.registry import all_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Result", "run"]


@dataclass(frozen=True)
class Result:
    """What a study found.

    Attributes
    ----------
    found : RunResult
        All of it, as the report is made from it.
    """

    found: RunResult = field(repr=False)

    @property
    def heads(self) -> pd.DataFrame:
        """Tests of every head in every measure, as heads.csv holds them, the run's own measure first.

        ``.attrs["conditions"]`` names a and b. Figure functions show one measure, named by their argument `measure`.
        """
        return self.found.tables.heads

    @property
    def layers(self) -> pd.DataFrame:
        """Tests of every layer in every measure, as layers.csv holds them."""
        return self.found.tables.layers

    def head(
        self,
        layer: int,
        head: int,
        *,
        site: str | None = None,
        threshold: float | None = None,
        measure: str | None = None,
        contrast: str | None = None,
        view: str | None = None,
    ) -> Head:
        """Return one head: its data, the standard tools beside its numbers, and a paragraph for a paper.

        Parameters
        ----------
        layer, head : int
            Counted from 1, as in heads.csv.
        site : str or None
            Attention site; needed where several have such a head.
        threshold : float or None
            One of those that were tested; the primary one if None.
        measure : str or None
            One of those that were tested; the run's own if None.
        contrast : str or None
            Of a two-by-two design: ``"interaction"``, ``"condition"`` or the second factor's name; the primary one if
            None.
        view : str or None
            One of the study's views; the whole sequences if None.

        Returns
        -------
        Head

        Raises
        ------
        InputError
            If there is no such head, with the ranges that there are; or no such site, threshold, measure, contrast or
            view.

        Examples
        --------
        >>> result.head(5, 9).frame                 # doctest: +SKIP
        >>> result.head(5, 9).check()               # doctest: +SKIP
        >>> print(result.head(5, 9).sentence)       # doctest: +SKIP
        """
        return Head(
            one_head(
                self.found, layer, head, site=site, threshold=threshold, measure=measure, contrast=contrast, view=view
            )
        )

    @property
    def verdict(self) -> RunVerdict:
        """The verdict: a word, a sentence, and how many heads are different, equivalent and undecided."""
        verdict = self.found.record.verdict
        if verdict is None:
            raise RuntimeError("the record of a finished run has no verdict")
        return verdict

    @property
    def report(self) -> Path:
        """Where report.md lies; the tables and figures lie beside it."""
        return self.found.folder / "report.md"

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that `figure` draws."""
        return tuple(plate.stem for plate in run_plates(self.found))

    def figure(self, name: str) -> Figure:
        """Draw a figure of the report.

        Parameters
        ----------
        name : str
            One of `figures`: ``"summary"``, ``"difference"``, ...

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            If the report has no figure of that name.
        """
        return draw_named(name, run_plates(self.found))

    def __str__(self) -> str:
        return " ".join(verdict_sentences(self.found))

    def __repr__(self) -> str:
        return f"<Result of {self.found.study.name}: {self.verdict.word}, {self.report}>"

    def _repr_html_(self) -> str:
        counts = " · ".join(f"{getattr(self.verdict, name)} {name}" for name in VERDICTS)
        sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict_sentences(self.found))
        return (
            f"<h4>{escape(self.found.study.title)}</h4>{sentences}"
            f"<p>{len(self.heads.drop_duplicates(['site', 'layer', 'head']))} heads: {counts}</p>"
            f"<p><code>{escape(str(self.report))}</code></p>"
        )


def run(
    study: str | Study | Path | pd.DataFrame, *, progress: bool = True, **options: Any
) -> Result | ConditionsResult | None:
    """Run a study, or a table of texts, as ``python -m studies`` does, and return what it found.

    Parameters
    ----------
    study : str, Study, Path or pandas.DataFrame
        The name of a study, shipped, installed or in the folder ``studies`` where you stand, or a study itself; or a
        table of texts, a frame or the path of a csv, tsv, xlsx, jsonl or parquet file, as
        ``python -m studies run FILE`` takes it.
    progress : bool, default True
        Whether progress is shown.
    **options
        Values of the study's options and of those of every study, by their names on the command line with underscores:
        ``k=500, max_length=20, permutations=1000, out="my_reports"``. Those of a table name its columns
        (``pair_column="item"``) and conditions (``a="near", b="far"``), and its folder (``name="mine"``).

    Returns
    -------
    Result, ConditionsResult or None
        Of a table with more than two conditions, of which two are not picked, a `ConditionsResult`. None in the
        processes that torchrun started beside the first.

    Raises
    ------
    InputError
        For what the command refuses, in the same words: an unknown study or option, a value that will not do, a file
        that is missing, a model that cannot be read.

    Examples
    --------
    >>> result = run("mt40k_topbotk", k=500)                 # doctest: +SKIP
    >>> result.heads[["layer", "head", "hedges_g"]].head()   # doctest: +SKIP
    >>> result.figure("summary")                             # doctest: +SKIP
    >>> run(frame, cluster_column="subject", name="mine")    # doctest: +SKIP
    """
    # of the processes that torchrun starts, the first one speaks
    stages = RichStages(Console(quiet=os.environ.get("RANK", "0") != "0")) if progress else Silent()
    if isinstance(study, pd.DataFrame | Path) or (isinstance(study, str) and is_table_file(study)):
        return _run_table(study, options, stages)
    chosen = study if isinstance(study, Study) else all_studies().get(study)
    given = options_for(chosen, **options)
    check_options(chosen, given)
    found = run_study(chosen, given, stages=stages, command=_call(chosen, options))
    return None if found is None else Result(found)


def _run_table(
    table: str | Path | pd.DataFrame, options: dict[str, Any], stages: Stages
) -> Result | ConditionsResult | None:
    """Run a table of texts."""
    values = {
        entry.name: check_option(entry, options[entry.name]) if entry.name in options else entry.default
        for entry in FILE_OPTIONS
        if entry.name != "csv"
    }
    taken = tuple(all_studies().studies)
    if isinstance(table, pd.DataFrame):
        name = study_name("frame" if values["name"] is None else values["name"], "frame", taken)
        texts = table_texts(table_of_frame(table, name), values)
        file, shown = TableFile(texts, name, {"csv": None, **values}), "frame"
    else:
        values = {"csv": os.fspath(table), **values}
        texts = table_texts(read_file(values), values)
        file, shown = TableFile(texts, study_name(values["name"], values["csv"], taken), values), repr(os.fspath(table))
    for text in (*texts.notes, *texts.warnings):
        stages.say(text)
    arguments = ", ".join([shown, *(f"{name}={value!r}" for name, value in options.items())])
    command = f"metastable.run({arguments})"
    if file.has_several:
        a, b = texts.conditions[:2]
        given = options_for(study_of(file, a=a, b=b), **options)
        return run_conditions(
            texts.conditions,
            partial(_study_of_pair, file),
            given,
            name=file.name,
            taken=taken,
            stages=stages,
            command=command,
        )
    study = study_of(file)
    given = options_for(study, **options)
    check_options(study, given)
    result = run_study(study, given, stages=stages, command=command)
    return None if result is None else Result(result)


def _study_of_pair(file: TableFile, a: str, b: str, name: str) -> Study:
    return study_of(file, a=a, b=b, name=name)


def _call(study: Study, options: dict[str, Any]) -> str:
    """Write the call that runs the study again."""
    arguments = ", ".join([repr(study.name), *(f"{name}={value!r}" for name, value in options.items())])
    return f"metastable.run({arguments})"
