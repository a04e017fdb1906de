"""One run at a time writes to a folder, and clears away what killed ones left there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metastable.errors import InputError
from metastable.files import finish_moving, locked, require_writable, size_of, sweep_temporary
from metastable.progress import Stages
from metastable.stopping import working

__all__ = ["LASTS", "say_unfinished_cubes", "writing_alone"]

LASTS = ("run.json", "calibration.json", "calibration_repack.json", "conditions.json")
"""The files that say that a report is whole, each the last of those that are written with it."""


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """Keep other runs from writing to a folder for as long as the context lasts.

    Reports that were whole when their run was killed take their places, and temporary files go. Folders that are made
    for the lock go with it if nothing was written there. Of the processes that torchrun started the first one does so.

    Parameters
    ----------
    folder : Path
        The folder of a report.

    Raises
    ------
    InputError
        If another run is writing there, or the folder cannot be written.
    """
    if os.environ.get("RANK", "0") != "0":
        with working():
            yield
        return
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        require_writable(folder, "--out")
        with working(), locked(folder / ".lock") as mine:
            if not mine:
                raise InputError(
                    f"another run is writing to {folder}; wait until it is over, or give another folder by --out"
                )
            for last in LASTS:
                finish_moving(folder, last)
            for place in (folder, folder / "figures"):
                sweep_temporary(place)
            yield
    finally:
        for one in made:
            with suppress(OSError):  # it holds something
                one.rmdir()


def say_unfinished_cubes(folder: Path, but: Path | None, stages: Stages) -> None:
    """Name the unfinished cubes in a folder that another recipe than this run's would go on with.

    Parameters
    ----------
    folder : Path
    but : Path or None
        The cube of this run, if it is not finished.
    stages : Stages
        Who is told.
    """
    for cube in sorted(folder.glob(f".*-{16 * '?'}.zarr")):
        if cube != but:
            stages.say(
                f"{cube} ({size_of(cube) / 1e6:,.1f} MB) holds counts of another recipe that were not finished: the "
                "same command as then goes on from them; delete it if that will not be typed"
            )
