"""One study on many models, each with its own report, and what holds over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from metastable.errors import InputError
from metastable.extraction.distributed import Processes, current_processes
from metastable.extraction.store import load_counts
from metastable.files import require_writable, write_text, written_together
from metastable.heads.cube import feature_table, unit_means
from metastable.heads.finished_report import rows_at
from metastable.heads.many_models_result import ManyModelsResult
from metastable.heads.model_names import UNTRAINED, NamedModel, draws_of, read_models
from metastable.heads.model_tables import ModelRun, over_models, sorted_heads
from metastable.heads.model_units import ModelUnits, read_units, reading_of, write_units
from metastable.heads.models_options import ModelsOptions
from metastable.heads.record import (
    FailedModel,
    ManyModelsRecord,
    ModelRecord,
    ReadModel,
    RunRecord,
    with_files,
    write_record,
)
from metastable.heads.recording import software_record
from metastable.heads.results import RunResult
from metastable.models.encoders import load_tokenizer
from metastable.models.siblings import identify, write_sibling
from metastable.program import typed as started
from metastable.progress import Silent, Stages
from metastable.report.apa import plural
from metastable.report.index import write_index
from metastable.report.models.page import write_page
from metastable.report.models.sentences import verdict_record
from metastable.report.one_file import write_html
from metastable.runs.clock import Clock
from metastable.runs.kept_settings import result_key
from metastable.runs.study import prepare_study, run_study
from metastable.runs.writing_alone import writing_alone
from metastable.study import Material, Options, Study
from metastable.study.own_options import check_options, options_of
from metastable.typed_json import plain, typed

__all__ = ["models_folder", "run_models"]


def models_folder(study: Study, out: str | Path) -> Path:
    """Return the folder of a study over many models."""
    return Path(out) / f"{study.name}_models"


@dataclass(frozen=True)
class _Kept:
    """A model's run with its key, and whether it was kept from before."""

    run: ModelRun
    key: str
    reused: bool


def run_models(
    study: Study,
    options: Options,
    chosen: ModelsOptions,
    *,
    stages: Stages | None = None,
    command: str = "",
) -> ManyModelsResult | None:
    """Run a study on many models and write what holds over them.

    Every model gets a folder with its own report. A model whose finished run has the same recipe is not run again, and
    one that cannot be read is left out and named: a run that was cut short goes on where it stopped.

    Parameters
    ----------
    study : Study
    options : Options
        Of every run; the model is named by `chosen`.
    chosen : ModelsOptions
        The models, and how they are drawn.
    stages : Stages or None
        Listener for progress.
    command : str
        The command that the report tells its readers to type for the same.

    Returns
    -------
    ManyModelsResult or None
        None in the processes that torchrun started beside the first.

    Raises
    ------
    InputError
        If no model can be read, the study is about a slope, or for anything else that the user can mend.
    """
    clock = Clock(stages or Silent())
    if study.design.predictor is not None:
        raise InputError(
            f"{study.name} is about a slope along {study.design.predictor}, and models are compared in differences of "
            "two conditions; give another study"
        )
    named = read_models(chosen.model, chosen.families)
    folder = models_folder(study, options.out)
    require_writable(folder, "--out")
    processes = current_processes()
    named = (*named, *_siblings(named[0], chosen.siblings, options.seed, folder, processes, clock))
    kept: list[_Kept] = []
    failed: list[FailedModel] = []
    of_siblings: list[Material] = []
    for number, name in enumerate(named, start=1):
        clock.stages.say(f"model {number} of {len(named)}: {name.label}")
        try:
            one = _one(study, options, name, folder, processes, clock, of_siblings)
        except InputError as error:
            failed.append(FailedModel(name.label, name.given, str(error)))
            clock.stages.say(f"{name.label} is left out: {error}")
            continue
        if one is not None:
            kept.append(one)
    if len(failed) == len(named):
        raise InputError(f"none of {plural(len(failed), 'model')} could be read; {failed[0].label}: {failed[0].reason}")
    if not processes.is_first:
        return None
    return _finish(study, options, chosen, folder, kept, failed, clock, command)


def _siblings(
    first: NamedModel, n: int, seed: int, folder: Path, processes: Processes, clock: Clock
) -> list[NamedModel]:
    """Make untrained networks of the first model's architecture."""
    found = []
    for number in range(1, n + 1):
        home = folder / "siblings" / f"{first.folder}_{number}"
        this_seed = seed + number

        def make(home: Path = home, this_seed: int = this_seed) -> str:
            try:
                write_sibling(first.model, first.revision, this_seed, home)
            except InputError as error:
                return str(error)
            return ""

        with clock.stage(f"sibling {number}", f"untrained network {number} of {n}, seed {this_seed}"):
            problem = processes.from_first(make)
        if problem:
            raise InputError(f"--siblings: {problem}")
        label = f"untrained {first.label} {number}"
        found.append(NamedModel(f"sibling {this_seed}", str(home), None, "", label, UNTRAINED))
    return found


def _one(
    study: Study,
    options: Options,
    name: NamedModel,
    folder: Path,
    processes: Processes,
    clock: Clock,
    of_siblings: list[Material],
) -> _Kept | None:
    """Run the study on one model, or take what was kept; None in processes that only help to count.

    All untrained networks have one tokenizer and read the same, which the first of them puts into `of_siblings`.
    """
    home = folder / name.folder
    mine = options.replaced({"model": name.model, "revision": name.revision, "out": str(home)})
    check_options(study, mine)
    identity = identify(name.model, name.revision)
    name = replace(name, family=name.family or identity.architecture)
    with clock.stage(f"{name.label} plan", f"{name.label}: words to sequences"):
        its = replace(study, build=lambda *_: of_siblings[0]) if name.is_untrained and of_siblings else study
        material, contrasts = prepare_study(its, mine, load_tokenizer(name.model, revision=name.revision))
    if name.is_untrained and not of_siblings:
        of_siblings.append(material)
    tokens = json.dumps([(s.token_ids, s.word_index, s.segment_ids) for s in material.sequences])
    counts = f"{identity.weights_hash} {hashlib.sha256(tokens.encode()).hexdigest()}"
    # what the model is called and where it lies changes nothing
    key = result_key(study, replace(mine, model="", revision=None), material, counts, software_record().packages)
    kept = processes.from_first(lambda: _kept(home, key, name))
    if kept is not None:
        clock.stages.say(f"{name.label}: finished before with the same recipe, its result is reused")
        return _Kept(kept, key, reused=True)
    # what was made is not made twice
    result = run_study(
        replace(study, build=lambda *_: material), mine, stages=clock.stages, command=_run_command(study, mine)
    )
    if result is None:
        return None
    run = _model_run(result, name, reading_of(material.sequences, contrasts[0]), home)
    write_units(run.units, home / "units.parquet")
    facts = {"key": key, "reading": run.reading, **run.facts}
    # the last file says that the others are whole
    write_text(home / "model.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return _Kept(run, key, reused=False)


def _kept(home: Path, key: str, name: NamedModel) -> ModelRun | None:
    """Return a model's finished run of that key; None where there is none, or where it cannot be read."""
    try:
        facts = json.loads((home / "model.json").read_text(encoding="utf-8"))
        if facts.pop("key") != key:
            return None
        report = home / facts["report"]
        record = RunRecord.read(report.parent / "run.json")
        heads = rows_at(pd.read_csv(report.parent / "heads.csv", low_memory=False), record.options.threshold[0])
        return ModelRun(name, read_units(home / "units.parquet"), heads, facts.pop("reading"), facts)
    except (OSError, ValueError, KeyError):
        # a damaged result is computed anew
        return None


def _model_run(result: RunResult, name: NamedModel, reading: str, home: Path) -> ModelRun:
    cube = load_counts(result.folder / "counts.zarr") if result.word_cube is None else result.word_cube
    features, threshold = feature_table(cube), result.record.options.threshold[0]
    units = ModelUnits(
        features=features,
        measured={
            measure: result.contrast.values(unit_means(cube, features, threshold, measure))
            for measure in result.measured
        },
        condition=result.contrast.condition,
        pair=result.contrast.pair,
    )
    facts = {
        "report": (result.folder / "report.md").relative_to(home).as_posix(),
        "measure": result.record.options.measure,
        "unit": result.contrast.unit,
        "context": result.study.design.context if result.contrast.crossing is not None else "",
        "model": plain(result.record.model),
        "packages": dict(result.record.packages),
    }
    # as the file holds them, so that a run that is kept gives the same to the last digit
    heads = rows_at(pd.read_csv(result.folder / "heads.csv", low_memory=False), threshold)
    return ModelRun(name, units, heads, reading, facts)


def _run_command(study: Study, options: Options) -> str:
    """Write the command that runs one model again: the options that differ from their defaults."""
    words = [study.name]
    values = options.values()
    for entry in options_of(study):
        value = values[entry.name]
        if value == entry.default:
            continue
        words.append(entry.flag)
        if entry.kind is not bool:
            words += [str(one) for one in value] or ["none"] if entry.many else [str(value)]
    return started(*words)


def _finish(
    study: Study,
    options: Options,
    chosen: ModelsOptions,
    folder: Path,
    kept: Sequence[_Kept],
    failed: Sequence[FailedModel],
    clock: Clock,
    command: str,
) -> ManyModelsResult:
    runs = tuple(one.run for one in kept)
    with clock.stage("over models", "models and units drawn together"):
        found = over_models(
            runs,
            alpha=options.alpha,
            n_resamples=chosen.resamples,
            n_permutations=options.permutations,
            rng=options.seed,
        )
    own = _own_measure(runs, found.models["measure"].unique().tolist())
    result = ManyModelsResult(
        study=study,
        folder=folder,
        runs=runs,
        found=found,
        heads=sorted_heads(runs, own),
        record=_record(study, options, chosen, kept, failed, own, found.left_out, clock, command),
    )
    result = replace(result, record=replace(result.record, verdict=verdict_record(result)))
    with writing_alone(folder), written_together(folder, "run.json") as staged:
        with clock.stage("report", "figures and report") as advance:
            write_page(replace(result, folder=staged), advance)
            write_html(staged / "report.md", folder)
        result = replace(result, record=with_files(result.record, staged))
        write_record(result.record, staged / "run.json")
    write_index(folder.parent, clock.stages.say)
    return result


def _own_measure(runs: Sequence[ModelRun], measures: Sequence[str]) -> str:
    """Name the measure that the most models are about, of those that all were tested in."""
    wanted = [run.facts["measure"] for run in runs if run.facts["measure"] in measures]
    return max(wanted, key=wanted.count) if wanted else measures[0]


def _record(
    study: Study,
    options: Options,
    chosen: ModelsOptions,
    kept: Sequence[_Kept],
    failed: Sequence[FailedModel],
    measure: str,
    left_out: Any,
    clock: Clock,
    command: str,
) -> ManyModelsRecord:
    runs, software = [one.run for one in kept], software_record()
    drawn = draws_of([run.name for run in runs])
    a, b = study.conditions
    return ManyModelsRecord(
        kind="models",
        study=study.name,
        title=f"Many models: {study.title}",
        command=command,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        chosen=chosen,
        options=replace(options, model=runs[0].name.model, revision=runs[0].name.revision),
        measure=measure,
        a=a.name,
        b=b.name,
        unit=str(runs[0].facts["unit"]),
        models=tuple(
            ReadModel(
                label=one.run.name.label,
                given=one.run.name.given,
                family=one.run.name.family,
                role="untrained" if one.run.name.is_untrained else "draw" if draw else "checkpoint",
                reading=one.run.reading,
                result=one.key,
                report=f"{one.run.name.folder}/{one.run.facts['report']}",
                model=typed(ModelRecord, one.run.facts["model"]),
                packages=dict(one.run.facts["packages"]),
            )
            for one, draw in zip(kept, drawn, strict=True)
        ),
        failed=tuple(failed),
        n_runs_reused=sum(one.reused for one in kept),
        left_out=dict(left_out),
        seconds=clock.seconds,
        packages=software.packages,
        python=software.python,
        platform=software.platform,
        verdict=None,
    )
