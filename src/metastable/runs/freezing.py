"""Freezes a study: its claims and its recipe are recorded before anything is counted."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from metastable.errors import InputError
from metastable.heads.frozen import FILE, FrozenStudy, freeze, read_frozen
from metastable.heads.record import write_record
from metastable.models.encoders import load_tokenizer
from metastable.progress import Silent, Stages
from metastable.runs.clock import Clock
from metastable.runs.study import prepare_study
from metastable.runs.writing_alone import writing_alone
from metastable.study import Options, Study

__all__ = ["freeze_study", "repository_commit"]


def repository_commit(folder: Path) -> str | None:
    """Return the commit that a folder's repository is at, with "+" behind it where files were changed since.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    str or None
        None where there is no git, no repository or no commit.
    """
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        done = subprocess.run([git, "-C", str(folder), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    return None if commit is None else commit + ("+" if ask("status", "--porcelain", "--untracked-files=no") else "")


def freeze_study(
    study: Study, options: Options, *, stages: Stages | None = None, command: str = ""
) -> tuple[FrozenStudy, Path]:
    """Record a study's claims and recipe in the folder that its run will write to.

    No model is loaded, only its tokenizer: what the model will read is part of the recipe.

    Parameters
    ----------
    study : Study
    options : Options
    stages : Stages or None
        Listener for progress.
    command : str
        What was typed.

    Returns
    -------
    record : FrozenStudy
    path : Path
        Where it lies.

    Raises
    ------
    InputError
        If the folder holds counts, a report or another frozen record, or the study cannot be prepared.
    """
    folder = Path(options.out) / study.name
    with writing_alone(folder):
        return _frozen(study, options, folder, Clock(stages or Silent()), command)


def _frozen(study: Study, options: Options, folder: Path, clock: Clock, command: str) -> tuple[FrozenStudy, Path]:
    for name, what in (("run.json", "a report"), ("counts.zarr", "counts")):
        if (folder / name).exists():
            raise InputError(
                f"{folder} holds {what} of {study.name} already, and what is claimed now was not claimed before these; "
                "give another --out"
            )
    if read_frozen(folder) is not None:
        raise InputError(f"{folder / FILE} is there already: what was frozen stays as it is; give another --out")
    with clock.stage("sequences", "words to sequences"):
        tokenizer = load_tokenizer(options.model, revision=options.revision)
        material, _ = prepare_study(study, options, tokenizer)
    record = freeze(
        study,
        options,
        material.sequences,
        command=command,
        commit=repository_commit(Path.cwd()),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_record(record, folder / FILE)
    return record, folder / FILE
