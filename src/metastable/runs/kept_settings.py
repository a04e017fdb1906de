"""Results of finished runs of a sweep, kept on disk under a key of all that they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from metastable.files import sha256_of, write_text, written_whole
from metastable.heads.sweep_run import FinishedRun
from metastable.study import Material, Options, Study
from metastable.study.options import COMMON_OPTIONS

__all__ = ["FORMAT", "load_finished", "result_key", "save_finished"]

FORMAT = 3
"""Number of the format of a kept result and of the tests behind it; a new one never reuses an older result."""

# What affects the counts may affect the tests of the same counts too: the seed, which threshold is the primary one.
_JUDGING = tuple(entry.name for entry in COMMON_OPTIONS if entry.affects != "nothing")


def result_key(
    study: Study,
    options: Options,
    material: Material,
    counts: str,
    software: Mapping[str, Any],
) -> str:
    """Hash all that a run's result depends on.

    Parameters
    ----------
    study : Study
        Whose design and primary claim say what is compared.
    options : Options
        Of the run.
    material : Material
        Its sequences, with the units, pairs and covariates that the tests use.
    counts : str
        Key of the extraction (`metastable.extraction.keys.extraction_key`).
    software : mapping
        Versions of the packages.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    recipe = {
        "format": FORMAT,
        "counts": counts,
        "design": asdict(study.design),
        "conditions": [condition.name for condition in study.conditions],
        "contrast": study.claims[0].contrast if study.claims else "",
        "options": {name: getattr(options, name) for name in _JUDGING},
        "packages": dict(software),
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    for s in material.sequences:
        row = (s.identifier, s.condition, s.cluster, s.pair, s.level, s.context, s.target, dict(s.covariates))
        digest.update(json.dumps(row, default=float).encode())
    for s in material.units:
        digest.update(json.dumps((s.identifier, s.pair, dict(s.covariates)), default=float).encode())
    return digest.hexdigest()


def _paths(folder: Path, key: str) -> tuple[Path, Path, Path]:
    home = folder / key[:16]
    return home / "heads.parquet", home / "omnibus.parquet", home / "facts.json"


def save_finished(folder: Path, key: str, finished: FinishedRun) -> None:
    """Keep a result; the file that says that it is whole is written last."""
    heads, omnibus, facts = _paths(folder, key)
    for path, table in ((heads, finished.heads), (omnibus, finished.omnibus)):
        with written_whole(path) as temporary:
            table.to_parquet(temporary, index=False)
    held = {"key": key, "facts": finished.facts, "tables": [sha256_of(heads), sha256_of(omnibus)]}
    write_text(facts, json.dumps({**held, "sha256": _hash(held)}, indent=2, ensure_ascii=False) + "\n")


def _hash(held: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(held, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def load_finished(folder: Path, key: str) -> FinishedRun | None:
    """Return the result of that key; None where there is none, or where its files are not those that were written."""
    heads, omnibus, facts = _paths(folder, key)
    try:
        held = json.loads(facts.read_text(encoding="utf-8"))
        whole = isinstance(held, dict) and held.pop("sha256", None) == _hash(held)
        # a damaged result is computed anew
        if not whole or held["key"] != key or held["tables"] != [sha256_of(heads), sha256_of(omnibus)]:
            return None
        return FinishedRun(pd.read_parquet(heads), pd.read_parquet(omnibus), held["facts"])
    except (OSError, ValueError, RecursionError):
        return None
