"""One study, start to finish: words to sequences to counts to tests to a report."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.browser.run import write_run_browser
from metastable.contrasts import Contrast, contrasts_of
from metastable.cube import (
    feature_table,
    histogram_medians,
    target_rows,
    token_histograms,
    token_values,
    unit_means,
)
from metastable.encoders import Encoder, Tokenizer, load_encoder, load_tokenizer, resolve_device
from metastable.errors import InputError
from metastable.extraction import Extraction, extract
from metastable.extraction.distributed import current_processes
from metastable.files import require_writable, write_text, written_whole
from metastable.progress import Advance, Silent, Stages
from metastable.report import verdict_record, write_index, write_report
from metastable.stats.analysis import Analysis, Settings, TokenRows, analyse, join_analyses
from metastable.stats.balance import balance_table
from metastable.stats.joint import JointModel, fit_joint_model
from metastable.stats.sensitivity import Sensitivity, sensitivity
from metastable.stats.slope import analyse_slope
from metastable.study import Material, Sequence, Study, View

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Clock",
    "Counted",
    "RunResult",
    "analyse_cube",
    "count_study",
    "model_record",
    "prepare_study",
    "run_study",
    "sequence_table",
    "side_histograms",
    "software_record",
]

# The rows of one block of heads for the mixed model stay below this many bytes.
_TOKEN_BLOCK_BYTES = 256 * 2**20


@dataclass
class Clock:
    """Wall time of each stage, for run.json.

    Attributes
    ----------
    stages : Stages
        Who is told of progress.
    seconds : dict of str to float
        Wall time of each stage that is over.
    """

    stages: Stages
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, key: str, title: str) -> Iterator[Advance]:
        """Open a stage under a key of `seconds` and a title for readers."""
        start = time.perf_counter()
        with self.stages.stage(title) as advance:
            yield advance
        self.seconds[key] = round(time.perf_counter() - start, 3)


@dataclass(frozen=True)
class Counted:
    """A study whose attention has been counted.

    Attributes
    ----------
    folder : Path
        Where its report goes.
    material : Material
    contrasts : tuple of Contrast
        What is compared, the primary contrast first.
    encoder : Encoder
    extraction : Extraction
    """

    folder: Path
    material: Material
    contrasts: tuple[Contrast, ...]
    encoder: Encoder
    extraction: Extraction


@dataclass(frozen=True)
class RunResult:
    """What a run found and where it lies.

    Attributes
    ----------
    study : Study
    folder : Path
        Where the report and its files lie.
    contrasts : tuple of Contrast
        What was compared, the primary contrast first.
    analyses : tuple of Analysis
        All tests of each contrast, for every threshold.
    views : tuple of Analysis
        The tests of the primary contrast for each of the study's views.
    material : Material
    balance : pandas.DataFrame
        Covariates of the two sides of the primary contrast.
    sensitivity : Sensitivity or None
        Power of the primary contrast's test; None where the data have too few units, or for a slope.
    joint : JointModel or None
        One model over all heads; None unless it was asked for.
    histograms : ndarray of int64, shape (n_thresholds, 2, n_features, n_max + 1)
        How many tokens of each side of the primary contrast gave each count.
    unit_values : ndarray of float64, shape (n_units, n_features)
        What the primary contrast was tested on, at the primary threshold.
    recipe : mapping
        What run.json holds.
    """

    study: Study
    folder: Path
    contrasts: tuple[Contrast, ...]
    analyses: tuple[Analysis, ...]
    views: tuple[Analysis, ...]
    material: Material
    balance: pd.DataFrame
    sensitivity: Sensitivity | None
    joint: JointModel | None
    histograms: NDArray[np.int64]
    unit_values: NDArray[np.float64] = field(repr=False)
    recipe: Mapping[str, Any] = field(repr=False)

    @property
    def contrast(self) -> Contrast:
        """The primary contrast."""
        return self.contrasts[0]

    @property
    def analysis(self) -> Analysis:
        """The tests of the primary contrast."""
        return self.analyses[0]


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
            "text": [s.text for s in sequences],
            "n_tokens": [len(s.token_ids) for s in sequences],
            "n_words": [len(s.words) for s in sequences],
            "token_ids": [list(s.token_ids) for s in sequences],
            "word_index": [list(s.word_index) for s in sequences],
            "target": [list(s.target) for s in sequences],
            "segment_ids": [list(s.segment_ids) for s in sequences],
        }
    ).astype(dict.fromkeys(("cluster", "pair", "level", "context"), "string"))
    return table.join(pd.DataFrame([dict(s.covariates) for s in sequences]))


def _adjusting(contrast: Contrast, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    unknown = [name for name in names if name not in contrast.covariates.columns]
    if unknown:
        raise InputError(
            f"--covariates {unknown[0]}: there is no such covariate; "
            f"choose among {', '.join(contrast.covariates.columns)}"
        )
    return contrast.covariates[list(names)].to_numpy(dtype=np.float64) if names else None


def _token_rows(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    contrast: Contrast,
    sequences: tuple[Sequence, ...],
    covariates: tuple[str, ...],
    measure: str,
) -> TokenRows | None:
    design = contrast.design
    if covariates:
        nuisance = np.array([[s.covariates[name] for name in covariates] for s in sequences], dtype=np.float64)
        design = np.column_stack([design, nuisance - nuisance.mean(axis=0)])
    if contrast.repeated is not None:
        return TokenRows(
            read=lambda columns: unit_means(cube, features.iloc[columns], threshold, measure),
            group=contrast.repeated,
            design=design,
            cluster=contrast.crossed,
        )
    _, owner = token_values(cube, features.iloc[:1], threshold, measure)
    if np.bincount(owner).max() == 1:
        return None  # one row a sequence: the sequences' own tests say it all

    def read(columns: slice) -> NDArray[np.float64]:
        return token_values(cube, features.iloc[columns], threshold, measure)[0]

    return TokenRows(
        read=read,
        group=owner,
        design=design[owner],
        cluster=None if contrast.crossed is None else contrast.crossed[owner],
        block=max(1, _TOKEN_BLOCK_BYTES // (8 * max(1, len(owner)))),
    )


def _settings(options: Mapping[str, Any]) -> Settings:
    return Settings(
        n_permutations=options["permutations"],
        alpha=options["alpha"],
        correction=options["correction"],
        margin=options["margin"],
        seed=options["seed"],
    )


def thresholds_of(cube: xr.Dataset, options: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the thresholds that the measure depends on: all, or the first where it depends on none."""
    depends = "threshold" in cube[f"mean_{options['measure']}"].dims
    thresholds: tuple[float, ...] = options["threshold"]
    return thresholds if depends else thresholds[:1]


def _medians(
    cube: xr.Dataset,
    features: pd.DataFrame,
    threshold: float,
    contrast: Contrast,
    measure: str,
    histograms: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Median over the tokens of either condition, shape (2, n_features)."""
    if measure == "count":
        return histogram_medians(histograms)
    means = unit_means(cube, features, threshold, measure)
    values = contrast.values(means)
    return np.stack([np.median(values[contrast.condition], axis=0), np.median(values[~contrast.condition], axis=0)])


def analyse_cube(
    cube: xr.Dataset,
    contrast: Contrast,
    sequences: tuple[Sequence, ...],
    options: Mapping[str, Any],
    histograms: NDArray[np.int64],
    advance: Advance,
) -> Analysis:
    """Run all tests of one contrast, for every threshold.

    Parameters
    ----------
    cube : xarray.Dataset
        As `metastable.load_counts` opens it.
    contrast : Contrast
        What is compared.
    sequences : tuple of Sequence
        In the order of the cube.
    options : mapping
        Values of the common options.
    histograms : ndarray of int64, shape (n_thresholds, 2, n_features, n_max + 1)
        How many tokens of each condition gave each count.
    advance : callable
        Told of progress as ``f(done, total)``.

    Returns
    -------
    Analysis
    """
    features = feature_table(cube)
    nuisance = _adjusting(contrast, options["covariates"])
    measure = options["measure"]
    analyses = []
    thresholds = thresholds_of(cube, options)
    for index, threshold in enumerate(thresholds):

        def tell(done: int, total: int, part: int, index: int = index) -> None:
            advance(int(100 * (2 * index + part + done / max(total, 1))), 200 * len(thresholds))

        values = contrast.values(unit_means(cube, features, threshold, measure))
        arguments: dict[str, Any] = {
            "threshold": threshold,
            "medians": _medians(cube, features, threshold, contrast, measure, histograms[index]),
            "tokens": _token_rows(cube, features, threshold, contrast, sequences, options["covariates"], measure),
            "recorded": contrast.covariates,
            "settings": _settings(options),
            "on_permutations": partial(tell, part=0),
            "on_models": partial(tell, part=1),
        }
        if contrast.predictor is None:
            analyses.append(
                analyse(values, contrast.condition, features, pair=contrast.pair, covariates=nuisance, **arguments)
            )
        else:
            held = contrast.covariates[list(options["covariates"])]
            analyses.append(
                analyse_slope(
                    values, contrast.predictor, features, condition=contrast.condition, covariates=held, **arguments
                )
            )
    return join_analyses(analyses)


# Below this many units of a condition the sample says too little about itself to be drawn from.
_LEAST_UNITS = 5


def _unit_values(cube: xr.Dataset, contrast: Contrast, options: Mapping[str, Any]) -> NDArray[np.float64]:
    """Values of the units at the primary threshold."""
    return contrast.values(unit_means(cube, feature_table(cube), options["threshold"][0], options["measure"]))


def _sensitivity(
    cube: xr.Dataset, contrast: Contrast, options: Mapping[str, Any], advance: Advance
) -> Sensitivity | None:
    features = feature_table(cube)
    values = _unit_values(cube, contrast, options)
    varied = np.ptp(values, axis=0) > 0
    # of a slope the report says by formula what the sample could find
    if contrast.predictor is not None or min(contrast.n_a, contrast.n_b) < _LEAST_UNITS or not varied.any():
        return None
    return sensitivity(
        values,
        contrast.condition,
        pair=contrast.pair,
        family=pd.factorize(features["site"])[0],
        correction=options["correction"],
        alpha=options["alpha"],
        n_permutations=options["permutations"],
        rng=options["seed"],
        callback=advance,
    )


def _joint(cube: xr.Dataset, contrast: Contrast, options: Mapping[str, Any]) -> JointModel:
    features = feature_table(cube)
    sizes = features.groupby("layer").size()
    fits = (
        contrast.unit == "sequence"
        and contrast.predictor is None
        and options["measure"] in {"count", "effective_number"}
        and len(features["site"].unique()) == 1
        and len(sizes) > 1
        and sizes.min() > 1
    )
    if not fits:
        raise InputError(
            "--joint: the joint model needs counts of unpaired sequences and one attention site of several layers; "
            "leave it out"
        )
    values = _unit_values(cube, contrast, options)
    return fit_joint_model(np.log(values), contrast.condition, features["layer"].to_numpy())


def side_histograms(cube: xr.Dataset, contrast: Contrast, thresholds: tuple[float, ...]) -> NDArray[np.int64]:
    """Count how many tokens of either side of a contrast gave each count, as `RunResult.histograms` holds it."""
    groups = contrast.sides
    features = feature_table(cube)
    return np.stack([token_histograms(cube, features, threshold, groups) for threshold in thresholds])


def _analyse_view(
    cube: xr.Dataset,
    view: View,
    contrast: Contrast,
    sequences: tuple[Sequence, ...],
    options: Mapping[str, Any],
    advance: Advance,
) -> Analysis:
    looked = target_rows(cube, sequences) if view.targets_query else cube
    options = {**options, "measure": view.measure}
    histograms = side_histograms(looked, contrast, thresholds_of(looked, options))
    return analyse_cube(looked, contrast, sequences, options, histograms, advance)


def model_record(encoder: Encoder) -> dict[str, Any]:
    """Return what run.json says of a model."""
    return {
        "id": encoder.model_id,
        "revision": encoder.revision,
        "weights_sha256": encoder.weights_hash,
        "dtype": str(encoder.dtype),
        "sites": [{"name": site.name, "layers": site.n_layers, "heads": site.n_heads} for site in encoder.sites],
    }


def software_record() -> dict[str, Any]:
    """Return what run.json says of the programs that computed it."""
    packages = ("metastable", "torch", "transformers", "numpy", "scipy", "pandas", "statsmodels", "wordfreq")
    return {
        "packages": {name: version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _recipe(
    study: Study,
    options: Mapping[str, Any],
    counted: Counted,
    analysis: Analysis,
    clock: Clock,
    command: str,
) -> dict[str, Any]:
    material, encoder, extraction = counted.material, counted.encoder, counted.extraction
    contrast = counted.contrasts[0]
    return {
        "study": study.name,
        "title": study.title,
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "options": {name: _plain(value) for name, value in options.items()},
        "model": model_record(encoder),
        "sources": dict(material.sources),
        "notes": list(material.notes),
        "n_sequences": len(material.sequences),
        "contrast": {
            "name": contrast.name,
            "a": contrast.a.name,
            "b": contrast.b.name,
            "unit": contrast.unit,
            "paired": contrast.pair is not None,
            "predictor": None if contrast.predictor is None else contrast.formula,
        },
        "permutations": {"used": analysis.n_permutations, "exact": analysis.exact},
        "extraction": {
            "key": extraction.key,
            "capture": extraction.capture,
            "capture_reason": extraction.capture_reason,
            "reused": extraction.reused,
        },
        "device": str(encoder.device),
        "seconds": clock.seconds,
        **software_record(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _write_tables(result: RunResult) -> None:
    # the primary contrast's files have the plain names
    suffixes = ["", *(f"_{contrast.name}" for contrast in result.contrasts[1:])]
    suffixes += [f"_{view.name}" for view in result.study.views]
    for suffix, analysis in zip(suffixes, (*result.analyses, *result.views), strict=True):
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
    if result.sensitivity is not None:
        write_text(result.folder / "sensitivity.csv", result.sensitivity.curve.to_csv(index=False, lineterminator="\n"))
    with written_whole(result.folder / "sequences.parquet") as path:
        sequence_table(result.material.sequences).to_parquet(path, index=False)


def prepare_study(
    study: Study, options: Mapping[str, Any], tokenizer: Tokenizer
) -> tuple[Material, tuple[Contrast, ...]]:
    """Make a study's sequences and contrasts, and see that the covariates to adjust for are there.

    Parameters
    ----------
    study : Study
    options : mapping
        Values of the common options and of the study's own.
    tokenizer : Tokenizer
        The model's.

    Returns
    -------
    material : Material
    contrasts : tuple of Contrast
        The primary contrast first.

    Raises
    ------
    InputError
        For anything that the user can mend.
    """
    material = study.build(options, tokenizer)
    contrasts = contrasts_of(study, material.sequences)
    for contrast in contrasts:
        _adjusting(contrast, options["covariates"])
    return material, contrasts


def count_study(study: Study, options: Mapping[str, Any], clock: Clock, *, cube: str = "counts.zarr") -> Counted:
    """Make a study's sequences and count their attention, or take the counts of an earlier run.

    Parameters
    ----------
    study : Study
        What is compared.
    options : mapping
        Values of the common options and of the study's own.
    clock : Clock
        Tells the stages and times them.
    cube : str
        Name of the cube in the study's folder.

    Returns
    -------
    Counted

    Raises
    ------
    InputError
        For anything that the user can mend.
    """
    folder = Path(options["out"]) / study.name
    resolve_device(options["device"])  # a missing one is told before the work, and before anything is written
    with clock.stage("sequences", "words to sequences"):
        tokenizer = load_tokenizer(options["model"], revision=options["revision"])
        material, contrasts = prepare_study(study, options, tokenizer)
    clock.stages.say(_what(study, material.sequences))
    require_writable(folder, "--out")
    with clock.stage("model", f"loading {tokenizer.model_id}"):
        encoder = load_encoder(options["model"], revision=options["revision"], device=options["device"])
    with clock.stage("extraction", "attention counts") as advance:
        extraction = extract(
            encoder,
            material.sequences,
            thresholds=options["threshold"],
            path=folder / cube,
            batch_tokens=options["batch_tokens"],
            queries=options["queries"],
            keys=options["keys"],
            unit=options["unit"],
            measures=tuple(dict.fromkeys(("count", options["measure"], *(view.measure for view in study.views)))),
            callback=advance,
        )
    if extraction.reused:
        clock.stages.say(f"the finished extraction in {folder / cube} has the same recipe: reused")
    elif extraction.n_resumed:
        clock.stages.say(f"resumed: {extraction.n_resumed} sequences were already counted")
    return Counted(folder, material, contrasts, encoder, extraction)


def run_study(
    study: Study,
    options: Mapping[str, Any],
    *,
    stages: Stages | None = None,
    command: str = "",
) -> RunResult | None:
    """Run a study and write its report.

    Parameters
    ----------
    study : Study
        What is compared.
    options : mapping
        Values of the common options (`metastable.options.COMMON_OPTIONS`) and of the study's own.
    stages : Stages or None
        Listener for progress.
    command : str
        The command that the report tells its readers to type for the same run.

    Returns
    -------
    RunResult or None
        None in the processes that torchrun started beside the first: they share the extraction, and the
        first one tests and writes.

    Raises
    ------
    InputError
        For anything that the user can mend; nothing is left half written.
    """
    clock = Clock(stages or Silent())
    counted = count_study(study, options, clock)
    if not current_processes().is_first:
        return None
    folder, material, contrasts = counted.folder, counted.material, counted.contrasts
    cube = counted.extraction.dataset
    analyses = []
    with clock.stage("statistics", "tests of every head") as advance:
        histograms = side_histograms(cube, contrasts[0], options["threshold"])
        for index, contrast in enumerate(contrasts):

            def tell(done: int, total: int, index: int = index, advance: Advance = advance) -> None:
                advance(index * total + done, len(contrasts) * total)

            analyses.append(analyse_cube(cube, contrast, material.sequences, options, histograms, tell))
    views: list[Analysis] = []
    if study.views:
        with clock.stage("views", "tests of each view") as advance:
            views += [_analyse_view(cube, v, contrasts[0], material.sequences, options, advance) for v in study.views]
    with clock.stage("sensitivity", "what this sample could find") as advance:
        power = _sensitivity(cube, contrasts[0], options, advance)
    joint = None
    if options["joint"]:
        with clock.stage("joint", "one model of all heads"):
            joint = _joint(cube, contrasts[0], options)
    recipe = _recipe(study, options, counted, analyses[0], clock, command)
    result = RunResult(
        study=study,
        folder=folder,
        contrasts=contrasts,
        analyses=tuple(analyses),
        views=tuple(views),
        material=material,
        balance=balance_table(contrasts[0].covariates, contrasts[0].condition),
        sensitivity=power,
        joint=joint,
        histograms=histograms,
        unit_values=_unit_values(cube, contrasts[0], options),
        recipe=recipe,
    )
    with clock.stage("report", "figures and report") as advance:
        _write_tables(result)
        write_report(result, advance)
    with clock.stage("browser", "head browser"):
        write_run_browser(result, cube, counted.encoder)
    recipe["verdict"] = verdict_record(result.contrast, result.analysis, recipe)
    write_text(folder / "run.json", json.dumps(recipe, indent=2, ensure_ascii=False) + "\n")
    write_index(folder.parent)
    return result


def _what(study: Study, sequences: tuple[Sequence, ...]) -> str:
    parts = []
    for condition in study.conditions:
        mine = [s for s in sequences if s.condition == condition.name]
        words = sum(len(s.words) for s in mine)
        parts.append(f"{len(mine)} {condition.name} sequences of {words:,} words")
    return ", ".join(parts)
