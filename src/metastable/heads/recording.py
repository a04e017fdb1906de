"""Makes the record of a run from what it counted and found."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from metastable.heads.judged_claims import JudgedClaim
from metastable.heads.record import (
    ClaimRecord,
    ContrastRecord,
    ExtractionRecord,
    FrozenNote,
    ModelRecord,
    PermutationRecord,
    RunRecord,
    SiteRecord,
)
from metastable.heads.results import Counted
from metastable.stats.analysis import Analysis

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder

__all__ = ["Software", "model_record", "run_record", "software_record"]

_PACKAGES = ("metastable", "torch", "transformers", "numpy", "scipy", "pandas", "statsmodels", "wordfreq")


@dataclass(frozen=True)
class Software:
    """The programs that computed a record: versions of packages, of Python, and the platform."""

    packages: Mapping[str, str]
    python: str
    platform: str


def model_record(encoder: Encoder) -> ModelRecord:
    """Return what run.json says of a model; one from a folder is called by the folder's name."""
    folder = Path(encoder.model_id).expanduser()
    from_folder = folder.is_dir() and encoder.revision is None
    return ModelRecord(
        id=folder.resolve().name if from_folder else encoder.model_id,
        folder=encoder.model_id if from_folder else None,
        revision=encoder.revision,
        weights_sha256=encoder.weights_hash,
        dtype=str(encoder.dtype),
        sites=tuple(SiteRecord(site.name, site.n_layers, site.n_heads) for site in encoder.sites),
    )


def software_record(packages: tuple[str, ...] = _PACKAGES) -> Software:
    """Return what run.json says of the programs that computed it."""
    return Software({name: version(name) for name in packages}, platform.python_version(), platform.platform())


def run_record(
    counted: Counted,
    analysis: Analysis,
    claims: tuple[JudgedClaim, ...] = (),
    frozen: FrozenNote | None = None,
    *,
    seconds: Mapping[str, float],
    command: str,
) -> RunRecord:
    """Return what run.json holds, but for the verdict.

    Parameters
    ----------
    counted : Counted
        What was counted.
    analysis : Analysis
        The tests of the primary contrast.
    claims : tuple of JudgedClaim
        What became of the study's claims.
    frozen : FrozenNote or None
        What was frozen before.
    seconds : mapping of str to float
        Wall time of each stage.
    command : str
        What was typed.

    Returns
    -------
    RunRecord
    """
    study, options = counted.study, counted.options
    material, encoder, extraction = counted.material, counted.encoder, counted.extraction
    contrast, software = counted.contrasts[0], software_record()
    return RunRecord(
        study=study.name,
        title=study.title,
        command=command,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        options=options,
        model=model_record(encoder),
        sources=dict(material.sources),
        notes=material.notes,
        n_sequences=len(material.sequences),
        contrast=ContrastRecord(
            name=contrast.name,
            a=contrast.a.name,
            b=contrast.b.name,
            unit=contrast.unit,
            paired=contrast.pair is not None,
            predictor=None if contrast.predictor is None else contrast.formula,
        ),
        permutations=PermutationRecord(analysis.n_permutations, analysis.exact),
        extraction=ExtractionRecord(
            extraction.key,
            extraction.capture,
            extraction.capture_reason,
            extraction.reused,
            extraction.left_out,
            extraction.kernel,
            extraction.linear,
            extraction.batch_tokens,
        ),
        device=str(encoder.device),
        seconds=seconds,
        packages=software.packages,
        python=software.python,
        platform=software.platform,
        verdict=None,
        claims=tuple(ClaimRecord(one.claim.statement, one.outcome, one.test, one.p, one.p_holm) for one in claims),
        frozen=frozen,
    )
