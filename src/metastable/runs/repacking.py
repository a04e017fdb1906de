"""Type I error of the whole instrument: words drawn into two lists at random, packed, read and tested, many times."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.extraction.distributed import current_processes
from metastable.extraction.extracting import Extraction
from metastable.extraction.keys import FORMAT
from metastable.files import require_writable, write_text, written_together
from metastable.heads.calibration_options import CalibrationOptions
from metastable.heads.calibration_result import CalibrationResult, Repacked
from metastable.heads.contrasts import Contrast, contrasts_of
from metastable.heads.cube import feature_table, unit_means
from metastable.heads.record import CalibrationRecord, ComparedModel, with_files, write_record
from metastable.heads.recording import software_record
from metastable.heads.word_units import check_packings, unit_cube, word_contrasts
from metastable.material.redrawing import WordPool, check_redrawing, redrawn, word_pool
from metastable.models.encoders import Encoder, Tokenizer, load_encoder, load_tokenizer
from metastable.progress import Silent, Stages
from metastable.report.calibration.page import write_page
from metastable.report.one_file import write_html
from metastable.runs.clock import Clock
from metastable.runs.own_measure import settle_measures
from metastable.runs.writing_alone import writing_alone
from metastable.stats.simulation.draws import DrawTests, draw_table, draw_tests
from metastable.study import Condition, Material, Study
from metastable.typed_json import plain

__all__ = ["run_repacking"]

FOLDER = "repacked"
"""Folder, beside the study's report, with the result of each draw."""

TESTS_FORMAT = 1
"""Number of the tests of a draw; a new one never reuses an older draw."""

Draw = dict[str, DrawTests]
"""Tests of a draw by what was tested: "sequences", and "words" where there are several packings."""

_LISTS = (Condition("first", "words of the first list"), Condition("second", "words of the second list"))


@dataclass(frozen=True)
class _Instrument:
    """What reads and tests a draw."""

    study: Study
    options: CalibrationOptions
    encoder: Encoder
    tokenizer: Tokenizer
    pool: WordPool
    folder: Path

    @property
    def packings(self) -> int:
        return int(self.options.own.get("packings", 1))

    def material(self, number: int) -> Material:
        rng = np.random.default_rng([self.options.seed, 11, number])
        names = (_LISTS[0].name, _LISTS[1].name)
        length = self.options.own["max_length"]
        return redrawn(self.pool, names, self.tokenizer, length, packings=self.packings, rng=rng)

    @property
    def key(self) -> str:
        """Hash of all that the result of a draw depends on."""
        options = self.options
        recipe = {
            "format": [FORMAT, TESTS_FORMAT],
            "pool": [self.pool.words, self.pool.partners],
            "weights": self.encoder.weights_hash,
            "options": {
                name: plain(getattr(options, name))
                for name in ("model", "revision", "threshold", "measure", "queries", "keys", "unit", "permutations",
                             "alpha", "seed", "dtype")
            },
            "max_length": options.own["max_length"],
            "packings": self.packings,
            "packages": dict(software_record().packages),
        }  # fmt: skip
        return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()

    def read(self, material: Material) -> Extraction:
        options = self.options
        return extract(
            self.encoder,
            material.sequences,
            thresholds=options.threshold[:1],
            path=self.folder / "counts.zarr",
            batch_tokens=options.batch_tokens,
            queries=options.queries,
            keys=options.keys,
            unit=options.unit,
            keep=options.keep,
            measures=tuple(dict.fromkeys(("count", options.measure))),
            study=self.study,
        )


def _tests(
    instrument: _Instrument, contrast: Contrast, means: np.ndarray[Any, np.dtype[np.float64]], features: pd.DataFrame
) -> DrawTests:
    options = instrument.options
    return draw_tests(
        contrast.values(means),
        contrast.condition,
        pair=contrast.pair,
        family=pd.factorize(features["site"])[0],
        layer=features["layer"].to_numpy(),
        n_permutations=options.permutations,
        alpha=options.alpha,
        rng=options.seed,
    )


def _test_draw(instrument: _Instrument, material: Material, extraction: Extraction) -> Draw:
    """Test the sequences of the first packing as a run of one packing does, and of several packings the words."""
    cube, options, study = extraction.dataset, instrument.options, instrument.study
    features = feature_table(cube)
    first = [place for place, one in enumerate(material.sequences) if one.packing in (None, "1")]
    sequences = tuple(material.sequences[place] for place in first)
    means = unit_means(cube, features, options.threshold[0], options.measure)[first]
    found = {"sequences": _tests(instrument, contrasts_of(study, sequences)[0], means, features)}
    if material.packings > 1:
        contrast = word_contrasts(study, material.units)[0]
        units = unit_cube(cube, material, contrast, instrument.encoder.sites, replace(options, covariates=()))
        means = unit_means(units.cube, features, options.threshold[0], options.measure)
        found["words"] = _tests(instrument, contrast, means, features)
    return found


def _load(path: Path) -> Draw | None:
    """Return a kept draw; None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {unit: DrawTests(**tests) for unit, tests in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # a damaged one is computed anew
        return None


def _kept(draw: Mapping[str, DrawTests]) -> str:
    return json.dumps({unit: {"features": t.features, "omnibus": t.omnibus} for unit, t in draw.items()})


def run_repacking(
    study: Study,
    options: CalibrationOptions,
    *,
    stages: Stages | None = None,
    command: str = "",
) -> CalibrationResult | None:
    """Draw words of one pool into two lists, pack, read and test them, as often as `options.splits` says.

    Between the lists nothing differs but the draw, so that every call is a false one: what is estimated is the type I
    error of the whole instrument, packing and shuffle included. The result of each draw is kept, and a run that was cut
    short goes on from there.

    Parameters
    ----------
    study : Study
    options : CalibrationOptions
    stages : Stages or None
        Listener for progress.
    command : str
        What was typed.

    Returns
    -------
    CalibrationResult or None
        None in the processes that torchrun started beside the first.

    Raises
    ------
    InputError
        If the study does not pack lists of words, or the lists are too short.
    """
    check_redrawing(study, options)
    folder = Path(options.out) / study.name
    with writing_alone(folder):
        return _drawn(study, options, folder, Clock(stages or Silent()), command)


def _drawn(
    study: Study, options: CalibrationOptions, folder: Path, clock: Clock, command: str
) -> CalibrationResult | None:
    """Draw and test, or take the draws that are kept, and write the report."""
    with clock.stage("sequences", "the pool of words"):
        tokenizer = load_tokenizer(options.model, revision=options.revision)
        one_packing = replace(options, own={**options.own, "packings": 1} if "packings" in options.own else options.own)
        material = study.build(one_packing, tokenizer)
        pool = word_pool(study, material, options.side)
    with clock.stage("model", f"loading {tokenizer.model_id}"):
        encoder = load_encoder(options.model, revision=options.revision, device=options.device, dtype=options.dtype)
    study, settled = settle_measures(study, options, encoder, material.sequences)
    if not isinstance(settled, CalibrationOptions):
        raise TypeError("the options of a calibration stay such")
    lists = replace(study, conditions=_LISTS)
    instrument = _Instrument(lists, settled, encoder, tokenizer, pool, folder / FOLDER)
    check_packings(lists, settled, instrument.material(0))
    require_writable(instrument.folder, "--out")
    processes = current_processes()
    home = instrument.folder / instrument.key[:16]
    draws: list[Draw] = []
    n_reused = 0
    with clock.stage("draws", "draws of words, packed, read and tested") as advance:
        for number in range(options.splits):
            path = home / f"{number + 1:05d}.json"
            draw = processes.from_first(lambda path=path: _load(path))  # type: ignore[misc]
            n_reused += draw is not None
            if draw is None:
                drawn = instrument.material(number)
                extraction = instrument.read(drawn)
                if processes.is_first:
                    draw = _test_draw(instrument, drawn, extraction)
                    write_text(path, _kept(draw))
            if draw is not None:
                draws.append(draw)
            advance(number + 1, options.splits)
    if not processes.is_first:
        return None
    shutil.rmtree(instrument.folder / "counts.zarr", ignore_errors=True)
    if n_reused:
        clock.stages.say(f"{n_reused} of {options.splits} draws were kept from before")
    return _reported(instrument, study, folder, draws, clock, command)


def _reported(
    instrument: _Instrument,
    study: Study,
    folder: Path,
    draws: list[Draw],
    clock: Clock,
    command: str,
) -> CalibrationResult:
    """Make the table and write the report."""
    options, encoder = instrument.options, instrument.encoder
    sites = [site.name for site in encoder.sites for _ in range(site.n_layers * site.n_heads)]
    n_features = len(draws[0]["sequences"].features["none"])
    if len(sites) != n_features:
        raise InputError(f"the model has {len(sites)} heads and the draws {n_features}; take the folder {FOLDER} away")
    table = draw_table(
        {unit: [draw[unit] for draw in draws] for unit in draws[0]},
        family=pd.factorize(np.array(sites))[0],
        alpha=options.alpha,
    )
    drawn = instrument.material(0)
    sequences = tuple(one for one in drawn.sequences if one.packing in (None, "1"))
    contrast = contrasts_of(instrument.study, sequences)[0]
    n_words = len(instrument.pool.words) if instrument.pool.paired else len(instrument.pool.words) // 2
    result = CalibrationResult(
        study=study,
        folder=folder,
        table=table,
        contrast=contrast,
        n_units=n_words,
        n_heads=max(site.n_layers * site.n_heads for site in encoder.sites),
        record=CalibrationRecord(
            command=command,
            options=options,
            model=ComparedModel(encoder.model_id, encoder.weights_hash),
            n_units=n_words,
            seconds=clock.seconds,
        ),
        repacked=Repacked(
            n_draws=len(draws),
            n_words=n_words,
            n_sequences=(contrast.n_a, contrast.n_b),
            packings=drawn.packings,
            paired=instrument.pool.paired,
        ),
    )
    last = f"{result.stem}.json"
    with written_together(folder, last) as staged:
        with clock.stage("report", "figures and report") as advance:
            write_page(replace(result, folder=staged), advance)
            write_html(staged / f"{result.stem}.md", folder)
        record = with_files(result.record, staged)
        write_record(record, staged / last)
    return replace(result, record=record)
