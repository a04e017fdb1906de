"""A study run on many models from Python, and what it found at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import Console

from metastable.errors import InputError
from metastable.heads.many_models_result import ManyModelsResult
from metastable.heads.models_options import ModelsOptions
from metastable.heads.record import ManyModelsVerdict
from metastable.progress import Silent
from metastable.report.models.plates import PLATES
from metastable.report.models.sentences import verdict
from metastable.report.plate import draw_named, placed_plates
from metastable.runs.models import run_models as run_on_models
from metastable.runs.progress_bars import RichStages
from metastable.study import Study
from metastable.study.entries import declared_options
from metastable.study.options import check_option
from metastable.study.own_options import check_options, options_for
from metastable.study.registry import all_studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ModelsResult", "run_models"]


@dataclass(frozen=True)
class ModelsResult:
    """What a study found over many models.

    Attributes
    ----------
    found : ManyModelsResult
        All of it, as the report is made from it.
    """

    found: ManyModelsResult = field(repr=False)

    @property
    def models(self) -> pd.DataFrame:
        """One row per measure and model, as models.csv holds them."""
        return self.found.found.models

    @property
    def over_models(self) -> pd.DataFrame:
        """Means over models by family, depth and measure, as over_models.csv holds them."""
        return self.found.found.means

    @property
    def heads(self) -> pd.DataFrame:
        """Every model's heads sorted within their layers, as sorted_heads.csv holds them."""
        return self.found.heads

    @property
    def verdict(self) -> ManyModelsVerdict:
        """The verdict: a sentence, and the numbers of every measure."""
        found = self.found.record.verdict
        if found is None:
            raise RuntimeError("the record of a finished run has no verdict")
        return found

    @property
    def report(self) -> Path:
        """Where report.md lies; the tables, figures and the models' own reports lie beside it."""
        return self.found.folder / "report.md"

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures that `figure` draws."""
        return tuple(plate.stem for plate in placed_plates(PLATES, self.found))

    def figure(self, name: str) -> Figure:
        """Draw a figure of the report.

        Parameters
        ----------
        name : str
            One of `figures`: ``"forest"``, ``"depth"``, ...

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            If the report has no figure of that name.
        """
        return draw_named(name, placed_plates(PLATES, self.found))

    def __str__(self) -> str:
        return " ".join(verdict(self.found))

    def __repr__(self) -> str:
        return f"<ModelsResult of {self.found.study.name}: {len(self.found.runs)} models, {self.report}>"

    def _repr_html_(self) -> str:
        sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(self.found))
        return (
            f"<h4>{escape(self.found.record.title)}</h4>{sentences}<p>{len(self.found.runs)} models</p>"
            f"<p><code>{escape(str(self.report))}</code></p>"
        )


def run_models(
    study: str | Study,
    models: str | Sequence[str],
    *,
    families: Sequence[str] = (),
    siblings: int = 0,
    resamples: int = ModelsOptions.resamples,
    progress: bool = True,
    **options: Any,
) -> ModelsResult | None:
    """Run a study on many models as ``python -m studies models STUDY`` does, and return what it found.

    Parameters
    ----------
    study : str or Study
        The name of a study, or a study itself.
    models : str or sequence of str
        Ids, folders, ``id@revision``, ``folder@checkpoint``, or ``@file`` with one a line.
    families : sequence of str
        The family of each; that of its architecture unless given.
    siblings : int
        Untrained networks of the first model's architecture that are read too.
    resamples : int
        Draws of models and units together.
    progress : bool, default True
        Whether progress is shown.
    **options
        Values of the study's options and of those of every study, as `metastable.run` takes them.

    Returns
    -------
    ModelsResult or None
        None in the processes that torchrun started beside the first.

    Raises
    ------
    InputError
        For what the command refuses, in the same words.

    Examples
    --------
    >>> found = run_models("mt40k_matched", ["bert-base-uncased", "albert-base-v2"], siblings=5)  # doctest: +SKIP
    >>> found.figure("forest")                                                                     # doctest: +SKIP
    """
    study = study if isinstance(study, Study) else all_studies().get(study)
    for name in ("model", "revision"):
        if name in options:
            raise InputError(f"{name}= is of one model; give models=[...], with a revision as 'id@revision'")
    given = options_for(study, **options)
    check_options(study, given)
    given_models = (models,) if isinstance(models, str) else tuple(models)
    named = {"model": given_models, "families": tuple(families), "siblings": siblings, "resamples": resamples}
    entries = {entry.name: entry for entry in declared_options(ModelsOptions)}
    chosen = ModelsOptions(**{name: check_option(entries[name], value) for name, value in named.items()})
    # of the processes that torchrun starts, the first one speaks
    stages = RichStages(Console(quiet=os.environ.get("RANK", "0") != "0")) if progress else Silent()
    found = run_on_models(study, given, chosen, stages=stages, command=_call(study, named, options))
    return None if found is None else ModelsResult(found)


def _call(study: Study, named: dict[str, Any], options: dict[str, Any]) -> str:
    """Write the call that runs the models again."""
    more = {"families": list(named["families"]), "siblings": named["siblings"], "resamples": named["resamples"]}
    defaults = {"families": [], "siblings": 0, "resamples": ModelsOptions.resamples}
    changed = {name: value for name, value in more.items() if value != defaults[name]}
    arguments = [repr(study.name), repr(list(named["model"]))]
    arguments += [f"{name}={value!r}" for name, value in {**changed, **options}.items()]
    return f"metastable.run_models({', '.join(arguments)})"
