"""The whole recipe of a run, as run.json holds it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metastable.heads.results import Counted
from metastable.stats.analysis import Analysis
from metastable.study import Study

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder

__all__ = ["model_record", "run_recipe", "software_record"]


def model_record(encoder: Encoder) -> dict[str, Any]:
    """Return what run.json says of a model; one from a folder is called by the folder's name."""
    folder = Path(encoder.model_id).expanduser()
    from_folder = folder.is_dir() and encoder.revision is None
    return {
        "id": folder.resolve().name if from_folder else encoder.model_id,
        "folder": encoder.model_id if from_folder else None,
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


def run_recipe(
    study: Study,
    options: Mapping[str, Any],
    counted: Counted,
    analysis: Analysis,
    *,
    seconds: Mapping[str, float],
    command: str,
) -> dict[str, Any]:
    """Return what run.json holds, but for the verdict.

    Parameters
    ----------
    study : Study
    options : mapping
        Values of the common options and of the study's own.
    counted : Counted
        What was counted.
    analysis : Analysis
        The tests of the primary contrast.
    seconds : mapping of str to float
        Wall time of each stage.
    command : str
        What was typed.

    Returns
    -------
    dict
    """
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
        "seconds": seconds,
        **software_record(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
