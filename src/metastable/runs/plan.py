"""How many units find an effect: planned from a pilot's heads, or by formula before there is one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from metastable.errors import InputError, did_you_mean
from metastable.extraction.store import load_counts
from metastable.files import require_writable, write_text
from metastable.heads.contrasts import Contrast
from metastable.heads.cube import feature_table, unit_means
from metastable.heads.head_tests import observations_of
from metastable.heads.one_head import sites_read
from metastable.heads.plan_options import (
    FORMULA_ALONE,
    PLAN_OPTIONS,
    PlanOptions,
    chosen_plan,
    pilot_folder,
    require_plannable,
)
from metastable.heads.plan_result import BONFERRONI, FORMULA, PlanFound
from metastable.heads.record import RunRecord, require_whole
from metastable.heads.word_units import unit_cube
from metastable.material.table_study import FILE_OPTIONS, TableFile, read_file, study_name, study_of
from metastable.material.tables import is_table_file, table_of_frame
from metastable.material.texts import table_texts
from metastable.models.encoders import load_tokenizer
from metastable.models.model_files import load_part, resolve_source
from metastable.program import typed
from metastable.progress import Silent, Stages
from metastable.report.plan_page import counted, plan_heading, plan_lead, plan_rows, render_plan
from metastable.runs.clock import Clock
from metastable.runs.progress_bars import RichStages
from metastable.runs.study import CUBE, prepare_study
from metastable.stats.analysis import primary
from metastable.stats.contexts.crossed_power import CrossedSpread, crossed_spread, detectable_over_both, items_needed
from metastable.stats.contexts.crossed_test import crossed_test
from metastable.stats.intraclass import intraclass_correlation
from metastable.stats.power_formulas import formula_sample_size, lone_slope_sample_size
from metastable.stats.simulation.sample_size import (
    NormalPopulation,
    PilotPopulation,
    Population,
    pilot_population,
    sample_sizes,
    slope_population,
)
from metastable.study import Options, Study
from metastable.study.options import check_option
from metastable.study.own_options import options_for
from metastable.study.registry import all_studies

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from metastable.study import Sequence

__all__ = ["Plan", "plan", "run_plan"]

Floats = NDArray[np.float64]
_MOST_CONTEXTS = 5000
_TEST_NAMES = {
    "uncorrected": "one head, uncorrected",
    "corrected": "after the correction",
    "max-t": "by the largest statistic",
    "omnibus": "any head (omnibus)",
}


@dataclass(frozen=True)
class Plan:
    """How many units a study needs.

    Attributes
    ----------
    found : PlanFound
        All of it.
    """

    found: PlanFound = field(repr=False)

    @property
    def table(self) -> pd.DataFrame:
        """One row per effect and test: ``effect, test, n_a, n_b, low, high, how``, as plan.csv holds it.

        ``n_a`` and ``n_b`` are units of either condition (of pairs the same pairs, of a slope all units in ``n_a``).
        """
        return self.found.table

    @property
    def curves(self) -> pd.DataFrame:
        """Power of each test by size: ``effect, test, n, power, low, high``; empty where nothing was simulated."""
        return self.found.curves

    @property
    def assumptions(self) -> tuple[str, ...]:
        """All that the numbers rest on, a sentence each."""
        return self.found.assumptions

    @property
    def report(self) -> Path:
        """Where plan.md lies."""
        return self.found.folder / "plan.md"

    def figure(self, effect: float | None = None) -> Figure:
        """Draw power against the number of units.

        Parameters
        ----------
        effect : float or None
            One of those that were planned for; the first if None.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InputError
            If nothing was simulated, or the effect was not planned for.
        """
        return _figure(self.found, effect)

    def __str__(self) -> str:
        table = pd.DataFrame(plan_rows(self.found), columns=plan_heading(self.found)).to_string(index=False)
        return "\n".join([plan_lead(self.found), table, *(f"- {text}" for text in self.assumptions)])

    def __repr__(self) -> str:
        return f"<Plan of {self.found.study}: {self.report}>"

    def _repr_html_(self) -> str:
        table = pd.DataFrame(plan_rows(self.found), columns=plan_heading(self.found)).to_html(index=False)
        notes = "".join(f"<li>{escape(text)}</li>" for text in self.assumptions)
        return f"<p>{escape(plan_lead(self.found))}</p>{table}<ul>{notes}</ul>"


def plan(study: str | Study | Path | pd.DataFrame, *, progress: bool = True, **options: Any) -> Plan:
    """Say how many texts, pairs, clusters or items find an effect, as ``python -m studies plan`` does.

    Parameters
    ----------
    study : str, Study, Path or pandas.DataFrame
        The name of a study or a study itself, or a table of texts, as `metastable.run` takes it.
    progress : bool, default True
        Whether progress is shown.
    **options
        Of the plan, by their names on the command line with underscores: ``effect=(0.3, 0.5), power=0.9,
        pilot="pilots/mine"``. Those of a table name its columns and its folder.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For what the command refuses, in the same words.

    Examples
    --------
    >>> plan = metastable.plan("null_split", effect=0.3, pilot="none")   # doctest: +SKIP
    >>> plan.table                                                       # doctest: +SKIP
    """
    stages: Stages = RichStages(Console()) if progress else Silent()
    entries = {entry.name: entry for entry in PLAN_OPTIONS}
    shown = "frame" if isinstance(study, pd.DataFrame) else repr(study.name if isinstance(study, Study) else str(study))
    arguments = ", ".join([shown, *(f"{name}={value!r}" for name, value in options.items())])
    file: TableFile | None = None
    if isinstance(study, pd.DataFrame | Path) or (isinstance(study, str) and is_table_file(study)):
        file = _table(study, options)
        of_columns = {entry.name for entry in FILE_OPTIONS}
        options = {name: value for name, value in options.items() if name not in of_columns}
    for name in options:
        if name not in entries:
            raise InputError(
                f"plan has no option {name!r}; {did_you_mean(name, entries)}its options are: {', '.join(entries)}"
            )
    given = {name: check_option(entries[name], value) for name, value in options.items()}
    if file is not None:
        chosen = None if file.has_several else study_of(file)
    else:
        chosen = study if isinstance(study, Study) else all_studies().get(str(study))
    return run_plan(chosen, given, file=file, stages=stages, command=f"metastable.plan({arguments})")


def _table(table: str | Path | pd.DataFrame, options: dict[str, Any]) -> TableFile:
    """Read a table of texts, with what options say of its columns."""
    values = {
        entry.name: check_option(entry, options[entry.name]) if entry.name in options else entry.default
        for entry in FILE_OPTIONS
        if entry.name != "csv"
    }
    taken = tuple(all_studies().studies)
    if isinstance(table, pd.DataFrame):
        name = study_name("frame" if values["name"] is None else values["name"], "frame", taken)
        return TableFile(table_texts(table_of_frame(table, name), values), name, {"csv": None, **values})
    values = {"csv": os.fspath(table), **values}
    return TableFile(table_texts(read_file(values), values), study_name(values["name"], values["csv"], taken), values)


@dataclass(frozen=True)
class _Pilot:
    """A finished run read back: what it compared, on what."""

    record: RunRecord
    contrast: Contrast
    cube: xr.Dataset = field(repr=False)
    sequences: tuple[Sequence, ...] = field(repr=False)
    values: Floats = field(repr=False)

    @property
    def features(self) -> pd.DataFrame:
        return feature_table(self.cube)


def _read_pilot(study: Study, folder: Path) -> _Pilot:
    """Make the pilot's material again, and take its values from its cube."""
    record = RunRecord.read(folder / "run.json")
    require_whole(record, folder / "run.json")
    if record.study != study.name:
        raise InputError(f"--pilot {folder} is a run of {record.study}, not of {study.name}; give one of this study")
    options = record.options
    tokenizer = load_tokenizer(options.model, revision=options.revision)
    # what only the model can tell of a sequence stays away: no test of the plan holds a covariate fixed
    material, contrasts = prepare_study(study, replace(options, covariates=()), tokenizer)
    contrast = contrasts[0]
    cube = load_counts(folder / CUBE)
    identifiers = [one.identifier for one in material.sequences]
    same = len(identifiers) == cube.sizes["sequence"] and identifiers == cube["sequence"].to_numpy().tolist()
    if same:
        tested = unit_cube(cube, material, contrast, sites_read(record), options)
        values = contrast.values(unit_means(tested.cube, feature_table(cube), options.threshold[0], options.measure))
        heads = primary(pd.read_csv(folder / "heads.csv", low_memory=False))
        same = len(heads) == values.shape[1] and np.allclose(
            values[contrast.condition].mean(axis=0), heads["mean_a"], rtol=1e-6, atol=1e-9
        )
    if not same:
        raise InputError(f"the pilot in {folder} has other material than {study.name} makes now; run it again")
    return _Pilot(record, contrast, tested.cube, tested.sequences, values)


def run_plan(
    study: Study | None,
    given: dict[str, Any],
    *,
    file: TableFile | None = None,
    stages: Stages | None = None,
    command: str = "",
) -> Plan:
    """Plan a study and write plan.md, plan.csv and a figure into its folder.

    Parameters
    ----------
    study : Study or None
        None for a table of more than two conditions.
    given : dict of str to object
        Values of `PlanOptions` that were given.
    file : TableFile or None
        The table that the study is of.
    stages : Stages or None
        Listener for progress.
    command : str
        What was typed.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For anything that the user can mend.
    """
    clock = Clock(stages or Silent())
    if study is None:
        if file is None:
            raise TypeError("there is neither a study nor a table")
        found = _several(file, given, command)
        return _written(found)
    options = options_for(study)
    folder = pilot_folder(study.name, given.get("pilot"), given.get("out", PlanOptions.out))
    roles = () if file is None else file.texts.columns
    first = typed(study.name) if file is None else typed("run", str(file.values["csv"] or "FILE"))  # noqa: PD011
    require_plannable(study, roles, folder, given, command=first)
    if folder is None:
        chosen = chosen_plan(study, given, None, options.margin)
        with clock.stage("plan", "sizes of samples") as advance:
            return _written(_by_formula(study, options, chosen, command, advance))
    with clock.stage("pilot", f"the pilot in {folder}"):
        pilot = _read_pilot(study, folder)
    chosen = chosen_plan(study, given, pilot.record.options, pilot.record.options.margin)
    with clock.stage("plan", "sizes of samples") as advance:
        return _written(_from_pilot(study, pilot, chosen, folder, command, advance))


_SAMPLED = (
    "The heads that have the effect are a share of {share:.0%} of all, at least one, chosen anew in every sample, up "
    "or "
    "down at random; power is the share of them that is found. Fewer heads with an effect are harder to find under a "
    "false "
    "discovery rate, and a lone one needs what the last row says."
)
_OMNIBUS = (
    "The omnibus test is that of the sum of squared statistics over all heads, with the same share of them affected."
)
_COVARIATES = "No covariate is held fixed; where those of the study explain what heads do, fewer units are enough."


def _by_formula(study: Study, options: Options, chosen: PlanOptions, command: str, advance: Any) -> PlanFound:
    """Plan without a pilot."""
    design: Literal["two", "paired", "slope"] = (
        "slope" if study.design.predictor is not None else "paired" if study.design.paired else "two"
    )
    n_heads = chosen.heads if chosen.heads is not None else _heads_of(options)
    ratio, spread = chosen.ratio or 1.0, float(np.sqrt(2 * (1 - chosen.partners)))
    if ratio != 1 and design != "two":
        raise InputError(f"--ratio: {study.name} has no two groups of units; leave it out")
    population = NormalPopulation(design, n_heads, ratio, spread)
    unit = study.design.unit or ("pair" if design == "paired" else "sequence")
    assumed = {
        "two": "Without a pilot: values are normal with one variance in both conditions; the formula is pingouin's "
        "power_ttest2n, the noncentral t of two groups.",
        "paired": f"Without a pilot: values are normal and partners correlate by {chosen.partners:g} (--partners), so "
        f"that "
        f"the standard deviation of their differences is {spread:.2f} times that of the values, in which the effect "
        f"is; "
        "the formula is pingouin's power_ttest of pairs.",
        "slope": "Without a pilot: values and predictor are normal; the formula is pingouin's power_corr of the "
        "correlation "
        "r = d / sqrt(d² + 4).",
    }[design]
    heads = "as --heads says" if chosen.heads is not None else f"those of {options.model}"
    assumptions = [
        assumed,
        f"{n_heads} heads are tested together, {heads}, and are independent of one another; heads that go together "
        f"need "
        "fewer units by the largest statistic, and a pilot tells how many.",
        _SAMPLED.format(share=chosen.share),
        _OMNIBUS,
        _COVARIATES,
        *_no_cube(study, chosen),
    ]
    return _simulated(
        study, population, design, unit, chosen, assumptions, command, advance, spread=spread, pilot=None,
        family=np.zeros(n_heads, dtype=int), n_heads=n_heads,
    )  # fmt: skip


def _no_cube(study: Study, chosen: PlanOptions) -> list[str]:
    """Say that a report lies where a pilot was looked for, which cannot be one."""
    folder = Path(chosen.out) / study.name
    if chosen.pilot is not None or not (folder / "run.json").is_file():
        return []
    return [f"The report in {folder} is no pilot, since its cube (counts.zarr) is gone; run it again to plan from it."]


def _heads_of(options: Options) -> int:
    """Return how many heads the study's model has, by its configuration."""
    from transformers import AutoConfig

    config = load_part(AutoConfig, resolve_source(options.model, options.revision), "configuration")
    text = getattr(config, "text_config", config)
    layers, heads = (getattr(text, name, None) for name in ("num_hidden_layers", "num_attention_heads"))
    if not isinstance(layers, int) or not isinstance(heads, int):
        raise InputError(f"the configuration of {options.model} does not tell its heads; give their number by --heads")
    return layers * heads


def _simulated(
    study: Study,
    population: Population,
    design: Literal["two", "paired", "slope"],
    unit: str,
    chosen: PlanOptions,
    assumptions: list[str],
    command: str,
    advance: Any,
    *,
    spread: float,
    pilot: Path | None,
    family: NDArray[np.integer],
    n_heads: int,
    noise: float = 1.0,
    n_covariates: int = 0,
) -> PlanFound:
    """Put formulas and simulations of every effect into one table."""
    sizes, curves = sample_sizes(
        population, chosen.effect, power=chosen.power, family=family, correction=chosen.correction, alpha=chosen.alpha,
        share=chosen.share, n_permutations=chosen.permutations, n_simulations=chosen.simulations, rng=chosen.seed,
        callback=advance,
    )  # fmt: skip
    ratio = population.size(10_000)[1] / 10_000
    rows = []
    for effect in chosen.effect:
        of_level = partial(formula_sample_size, design, effect / noise, power=chosen.power, ratio=ratio, spread=spread)
        alone = of_level(alpha=chosen.alpha)
        if design == "slope":
            strict = lone_slope_sample_size(
                effect, n_heads, power=chosen.power, alpha=chosen.alpha, n_covariates=n_covariates
            )
        else:
            strict = of_level(alpha=chosen.alpha / n_heads)
        mine = sizes[sizes["effect"] == effect].set_index("test")
        rows.append(_row(effect, FORMULA, alone, population, "formula"))
        rows += [
            _row(effect, str(test), row["n"], population, "simulation", row["low"], row["high"])
            for test, row in mine.iterrows()
        ]
        rows.append(_row(effect, BONFERRONI, strict, population, "formula"))
    return PlanFound(
        study=study.name, title=study.title, design=design, unit=unit,
        conditions=tuple(one.name for one in study.conditions), options=chosen, table=pd.DataFrame(rows), curves=curves,
        assumptions=tuple(assumptions), pilot=pilot, folder=Path(chosen.out) / study.name, command=command,
        n_heads=n_heads,
    )  # fmt: skip


def _row(
    effect: float, test: str, n: float, population: Population, how: str, low: float = np.nan, high: float = np.nan
) -> dict[str, Any]:
    n_b = float(population.size(int(n))[1]) if np.isfinite(n) else n
    return {"effect": effect, "test": test, "n_a": float(n), "n_b": n_b, "low": low, "high": high, "how": how}


def _from_pilot(
    study: Study, pilot: _Pilot, chosen: PlanOptions, folder: Path, command: str, advance: Any
) -> PlanFound:
    """Plan from a pilot's heads."""
    contrast, features = pilot.contrast, pilot.features
    family = pd.factorize(features["site"])[0]
    varied = np.ptp(pilot.values, axis=0) > 0
    n_heads = int(np.bincount(family[varied]).max()) if varied.any() else 0
    if contrast.crossing is not None and contrast.predictor is None and study.design.factor is None:
        return _over_contexts(study, pilot, chosen, folder, command, n_heads)
    said = [_read(pilot, folder)]
    if contrast.crossing is not None:
        item, context = contrast.crossing.item_name, contrast.crossing.context_name
        said.append(
            f"The plan is over {item}s alone, with as many {context}s as the pilot had; a report is over both, and "
            f"where effects differ between {context}s it takes more of these too, which is not planned here."
        )
    if contrast.predictor is not None:
        if chosen.ratio is not None:
            raise InputError(f"--ratio: {study.name} has no two groups of units; leave it out")
        of_slope = slope_population(pilot.values, contrast.predictor)
        said.append(
            "Errors about the lines are normal, alike along the predictor, and correlated over heads as the pilot's "
            "are; "
            "d is that of the correlation, d = 2r / sqrt(1 - r²). The formulas are pingouin's power_corr, and for a "
            "lone "
            "head that of the report's section on sensitivity (Fisher's z)."
        )
        said += [_SAMPLED.format(share=chosen.share), _OMNIBUS, _COVARIATES]
        return _simulated(
            study, of_slope, "slope", contrast.unit, chosen, said, command, advance, spread=1.0, pilot=folder,
            family=family, n_heads=n_heads,
        )  # fmt: skip
    noise: Floats | float = 1.0
    if study.design.clustered and contrast.pair is None and study.design.factor is None:
        noise, text = _of_clusters(pilot, chosen)
        said.append(text)
    if contrast.pair is not None and chosen.ratio is not None:
        raise InputError(f"--ratio: the units of {study.name} are in both conditions; leave it out")
    population = pilot_population(
        pilot.values, contrast.condition, pair=contrast.pair, ratio=chosen.ratio, noise=noise
    )  # fmt: skip
    spread = float(np.median(population.spread)) if contrast.pair is not None else 1.0
    said.append(_drawn(population, contrast, spread))
    said += [_SAMPLED.format(share=chosen.share), _OMNIBUS, _COVARIATES]
    return _simulated(
        study, population, "two" if contrast.pair is None else "paired", contrast.unit, chosen, said, command, advance,
        spread=spread, pilot=folder, family=family, n_heads=n_heads, noise=float(np.median(noise)),
    )  # fmt: skip


def _read(pilot: _Pilot, folder: Path) -> str:
    options, contrast = pilot.record.options, pilot.contrast
    if contrast.predictor is not None:
        n = f"{len(contrast.condition):,} {contrast.unit}s"
    elif contrast.pair is not None:
        n = f"{contrast.n_a:,} {contrast.unit}s"
    else:
        n = f"{contrast.n_a:,} and {contrast.n_b:,} {contrast.unit}s"
    return (
        f"The pilot in {folder} has {n} ({contrast.a.name}, {contrast.b.name}) in {pilot.record.model.id}, by "
        f"{options.measure} at a threshold of {options.threshold[0]:g}; the study is taken to be of the same kind of "
        "material, model and measure."
    )


def _drawn(population: PilotPopulation, contrast: Contrast, spread: float) -> str:
    text = (
        "Samples of every size are drawn with replacement from the pilot's units, each condition about its mean: they "
        "keep "
        "its variances, its distributions and the correlations between heads, as the report's section on sensitivity "
        "draws samples of the pilot's own size."
    )
    if contrast.pair is not None:
        return text + (
            f" In the median head the differences of partners have {spread:.2f} times the standard deviation of the "
            "values, in which the effect is; the formula is pingouin's power_ttest of pairs with that."
        )
    return text + (
        f" There are {population.ratio:.2g} {contrast.b.name} {contrast.unit}s for each {contrast.a.name} one; the "
        "formula is pingouin's power_ttest2n, of normal values with one variance."
    )


def _of_clusters(pilot: _Pilot, chosen: PlanOptions) -> tuple[Floats | float, str]:
    """How much a planned cluster's mean varies beside a pilot's, head by head."""
    contrast = pilot.contrast
    rows, sequences = contrast.weights.nonzero()
    size = np.bincount(rows)
    if size.max() < 2:
        if chosen.per_cluster not in (None, 1):
            raise InputError(
                "--per-cluster: each cluster of the pilot has one text, so that it does not tell how alike several "
                "are; "
                "give a pilot with several"
            )
        return 1.0, f"Each {contrast.unit} has one text, as in the pilot."
    options = pilot.record.options
    means = unit_means(pilot.cube, pilot.features, options.threshold[0], options.measure)[sequences]
    found = intraclass_correlation(means, rows, group=contrast.condition[rows])
    alike = np.clip(np.nan_to_num(found), 0.0, 1.0)
    # the size at which the mean of 1 / m lies, which a mean's variance depends on
    usual = 1 / float(np.mean(1 / size))
    planned = usual if chosen.per_cluster is None else float(chosen.per_cluster)
    ratio = np.divide(
        alike + (1 - alike) / planned, alike + (1 - alike) / usual, out=np.ones_like(alike), where=alike + 1 / usual > 0
    )
    middle = float(np.median(alike))
    text = (
        f"In the median head the texts of a {contrast.unit} have an intraclass correlation of {middle:.2f} (from "
        f"{alike.min():.2f} to {alike.max():.2f} over heads); {planned:.3g} texts a {contrast.unit} are planned"
        f"{', as in the pilot' if chosen.per_cluster is None else f', in the pilot there are {usual:.3g}'}. The "
        f"effect is "
        f"in standard deviations of the means of the pilot's {contrast.unit}s."
    )
    return np.sqrt(ratio), text


def _over_contexts(
    study: Study, pilot: _Pilot, chosen: PlanOptions, folder: Path, command: str, n_heads: int
) -> PlanFound:
    """Plan items and contexts, by the variances of the pilot's mixed models."""
    contrast, options = pilot.contrast, pilot.record.options
    seen = observations_of(pilot.cube, pilot.features, options.threshold[0], contrast, options)
    crossing = contrast.crossing
    if seen is None or crossing is None:
        raise TypeError("the tests are not over contexts")
    if chosen.ratio is not None:
        raise InputError("--ratio: items and contexts are planned as many in either condition; leave it out")

    def sides(codes: NDArray[np.intp]) -> tuple[set[int], set[int]]:
        return set(codes[seen.condition].tolist()), set(codes[~seen.condition].tolist())

    items, contexts = sides(seen.item), sides(seen.context)
    between = not items[0] & items[1]
    if contexts[0] != contexts[1] or (not between and items[0] != items[1]):
        raise InputError(
            f"{study.name} has {crossing.context_name}s or {crossing.item_name}s in one condition and others in both, "
            f"of "
            "which there is no formula; plan by a pilot in which every one is in both"
        )
    found = crossed_test(seen.values, seen.condition, seen.item, seen.context)
    per_condition = min(map(len, items)) if between else None
    spread = crossed_spread(found, between=between, per_condition=per_condition)
    numbers = chosen.contexts or (spread.n_contexts, 2 * spread.n_contexts)
    rows = []
    for effect in chosen.effect:
        for k in numbers:
            for test, alpha in ((FORMULA, chosen.alpha), (BONFERRONI, chosen.alpha / n_heads)):
                n = items_needed(spread, effect, k, power=chosen.power, alpha=alpha)
                rows.append(
                    {"effect": effect, "test": test, "n_a": n, "n_b": n, "low": np.nan, "high": np.nan,
                     "how": "formula", "contexts": k}
                )  # fmt: skip
    item, context = crossing.item_name, crossing.context_name
    of = {"power": chosen.power, "alpha": chosen.alpha}
    now = float(np.median(detectable_over_both(spread, spread.n_items, spread.n_contexts, **of)))
    total = spread.item / spread.n_items + spread.context / spread.n_contexts
    total += spread.residual / (spread.n_items * spread.n_contexts)
    share = float(np.median(spread.context / spread.n_contexts / total))
    each = " of each condition" if between else ""
    said = [
        _read(pilot, folder),
        f"Tests are over {item}s and {context}s, both random: the squared error of the effect is that between {item}s "
        f"over "
        f"their number, that between {context}s over theirs, and what is left over the product, each from the pilot's "
        f"mixed "
        f"model ({seen.named(found.formula)}).",
        f"With the pilot's own {spread.n_items:,} {item}s{each} and {spread.n_contexts:,} {context}s the median head "
        f"finds "
        f"g = {now:.2f} by itself, as its report says; {100 * share:.0f}% of its squared error is between the "
        f"{context}s, "
        f"which more {item}s do not lessen.",
        "Numbers are of the median head, by (t(1 - alpha/2) + t(power)) standard errors with Satterthwaite's degrees "
        "of "
        f"freedom; the correction is Bonferroni's over {n_heads} heads, for a head that is the only one, and nothing "
        f"is "
        "simulated.",
        f"Every {item} is read in every {context}.",
        _COVARIATES,
        *(_fewest_contexts(spread, effect, chosen, item, context) for effect in chosen.effect),
    ]
    return PlanFound(
        study=study.name, title=study.title, design="contexts", unit=item + each,
        conditions=tuple(one.name for one in study.conditions), options=chosen, table=pd.DataFrame(rows),
        curves=pd.DataFrame(), assumptions=tuple(said), pilot=folder, folder=Path(chosen.out) / study.name,
        command=command, n_heads=n_heads,
    )  # fmt: skip


def _fewest_contexts(spread: CrossedSpread, effect: float, chosen: PlanOptions, item: str, context: str) -> str:
    """Say how many contexts an effect asks for at least, whatever the number of items."""
    for k in range(2, _MOST_CONTEXTS):
        if np.isfinite(items_needed(spread, effect, k, power=chosen.power, alpha=chosen.alpha)):
            return f"For g = {effect:g} in one head it takes {k} {context}s or more, however many {item}s there are."
    return f"For g = {effect:g} not even {_MOST_CONTEXTS:,} {context}s are enough, however many {item}s there are."


def _several(file: TableFile, given: dict[str, Any], command: str) -> PlanFound:
    """Plan the omnibus test of more than two conditions, by formula."""
    conditions = file.texts.conditions
    joined = [role for role in ("pair", "cluster", "context", "level") if role in file.texts.columns]
    if joined or given.get("pilot") not in (None, FORMULA_ALONE):
        raise InputError(
            f"{len(conditions)} conditions are planned together by formula alone, of texts that stand by themselves; "
            f"pick "
            "two by --a and --b to plan from a pilot, or of pairs and clusters"
        )
    a, b = conditions[:2]
    study = study_of(file, a=a, b=b)
    options = options_for(study)
    chosen = chosen_plan(study, given, None, options.margin)
    n_heads, k = chosen.heads if chosen.heads is not None else _heads_of(options), len(conditions)
    rows = []
    for effect in chosen.effect:
        for test, alpha in ((FORMULA, chosen.alpha), (BONFERRONI, chosen.alpha / n_heads)):
            n = formula_sample_size("several", effect, power=chosen.power, alpha=alpha, n_conditions=k)
            rows.append({"effect": effect, "test": test, "n_a": float(n), "n_b": float(n), "low": np.nan,
                         "high": np.nan, "how": "formula"})  # fmt: skip
    said = (
        f"The test is whether {k} conditions differ at all, in one head; the effect is the difference of the two that "
        f"lie "
        "furthest apart, with the others in the middle, where the test finds least (Cohen 1988).",
        "Values are normal with one variance; the formula is pingouin's power_anova, the noncentral F.",
        f"The correction is Bonferroni's over {n_heads} heads, for a head that is the only one.",
        "A pair of conditions is planned by --a and --b.",
    )
    return PlanFound(
        study=file.name, title=file.name, design="several", unit="sequence", conditions=tuple(conditions),
        options=chosen, table=pd.DataFrame(rows), curves=pd.DataFrame(), assumptions=said, pilot=None,
        folder=Path(chosen.out) / file.name, command=command, n_heads=n_heads,
    )  # fmt: skip


def _figure(found: PlanFound, effect: float | None) -> Figure:
    from metastable import figures

    planned = found.options.effect
    if found.curves.empty:
        raise InputError("the plan is by formula alone, and holds no curve of power")
    size = planned[0] if effect is None else effect
    if size not in planned:
        raise InputError(f"effect={effect!r}: it was not planned for; there are {', '.join(f'{e:g}' for e in planned)}")
    return figures.power_curve(_curve(found, size), **_shown(found, size))


def _curve(found: PlanFound, effect: float) -> pd.DataFrame:
    rows = found.curves[found.curves["effect"] == effect]
    return rows.assign(test=rows["test"].map(_TEST_NAMES))


def _shown(found: PlanFound, effect: float) -> dict[str, Any]:
    """Return what the figure of power is told beside its curves: the sizes are those of the table."""
    rows = found.table[(found.table["effect"] == effect) & found.table["test"].isin(_TEST_NAMES)]
    sizes = dict(zip(rows["test"].map(_TEST_NAMES), rows["n_a"], strict=True))
    return {"target": found.options.power, "unit": counted(found), "reached": sizes}


def _written(found: PlanFound) -> Plan:
    """Write plan.csv, the curves with their figure, and plan.md."""
    folder = found.folder
    require_writable(folder, "--out")
    write_text(folder / "plan.csv", found.table.to_csv(index=False, lineterminator="\n"))
    figure = None
    if not found.curves.empty:
        from metastable import figures

        write_text(folder / "plan_curves.csv", found.curves.to_csv(index=False, lineterminator="\n"))
        effect = found.options.effect[0]
        figures.save_figure(_figure(found, effect), folder / "figures", "plan")
        alt = figures.power_curve_alt(_curve(found, effect), **_shown(found, effect))
        figure = "figures/plan.png", f"{alt} The effect is {effect:g}."
    write_text(folder / "plan.md", render_plan(found, figure))
    return Plan(found)
