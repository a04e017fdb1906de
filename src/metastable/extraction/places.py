"""The place of a cube: what there is of an extraction that may be gone on with, or a new store."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metastable.errors import InputError
from metastable.extraction.batches import plan_blocks
from metastable.extraction.counting import Reader
from metastable.extraction.distributed import Processes
from metastable.extraction.keys import FORMAT, extraction_key
from metastable.extraction.sequence_labels import SequenceLabels, labels_of
from metastable.extraction.store import CountStore, Layout, create_store, open_store, renewed_store
from metastable.extraction.summarizing import RowOptions

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder
    from metastable.study import Study

__all__ = ["Place", "find_place", "is_begun"]


@dataclass(frozen=True)
class Place:
    """The store of an extraction, and what there is of it.

    Attributes
    ----------
    key : str
        Of the extraction.
    labels : SequenceLabels
        What its sequences are.
    store : CountStore
        At its place if it is a finished one, beside it otherwise.
    finished : bool
        Whether it is.
    missing : list of slice
        Blocks that it lacks.
    """

    key: str
    labels: SequenceLabels
    store: CountStore
    finished: bool
    missing: list[slice]


def find_place(
    path: Path, layout: Layout, reader: Reader, options: RowOptions, study: Study | None, processes: Processes
) -> Place:
    """Find the store of an extraction, or make it.

    Parameters
    ----------
    path : Path
        Where the finished cube is to be; one that is not finished lies beside it, under its key.
    layout : Layout
        What the cube is to be.
    reader : Reader
        Sequences and model.
    options : RowOptions
        Which rows are summarized, and how.
    study : Study or None
        What the sequences are of.
    processes : Processes
        The first of them looks, and tells the others.

    Returns
    -------
    Place

    Raises
    ------
    InputError
        If something else is at `path`, if it cannot be written there, or if a process does not see what the first one
        made.
    """
    encoder, sequences = reader.encoder, reader.sequences
    key = extraction_key(
        encoder,
        sequences,
        thresholds=layout.thresholds,
        options=options,
        features=reader.features,
        keep=layout.keep,
    )
    beside = path.with_name(f".{path.stem}-{key[:16]}{path.suffix}")
    labels = labels_of(sequences)
    attributes = {**_attributes(encoder, key, options), "keep": layout.keep}
    finished, missing = processes.from_first(
        lambda: _survey(path, beside, key, layout, attributes, labels, _names(study))
    )
    return Place(key, labels, _require_store(path if finished else beside), finished, missing)


def is_begun(path: Path) -> bool:
    """Whether there is a cube, or a part of one, that an extraction may go on from."""
    return path.exists() or any(path.parent.glob(f".{glob.escape(path.stem)}-*"))


def _survey(
    path: Path,
    partial: Path,
    key: str,
    layout: Layout,
    attributes: Mapping[str, Any],
    labels: SequenceLabels,
    names: Mapping[str, str],
) -> tuple[bool, list[slice]]:
    """Find or make the store; whether it is a finished one, and the blocks that it lacks."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, where the cube of counts is to be a folder; move it away")
    former = path.with_name(f".{path.stem}-former{path.suffix}")
    if former.exists() and not path.exists():
        former.replace(path)  # a run was killed between two renamings
    try:
        finished = renewed_store(path, key, layout)
        store = finished or renewed_store(partial, key, layout)
        known = store is not None
        if store is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            store = create_store(partial, layout, attributes)
        else:
            store.write_labels(layout)
        # the key does not say what the sequences are called, so that a finished cube may be of other names
        store.write_sequence_labels(labels)
        if any(store.attributes.get(name) != value for name, value in names.items()):
            store.update_attributes(names)
    except OSError as error:
        raise InputError(
            f"the cube of counts cannot be written to {path.parent} ({error.strerror}); choose another folder"
        ) from error
    blocks = plan_blocks(store.n_sequences, store.block)
    return finished is not None, [block for block in blocks if not (known and store.is_whole(block))]


def _require_store(path: Path) -> CountStore:
    store = open_store(path)
    if store is None:
        raise InputError(f"the cube of counts at {path} is gone; let all processes see the same folder")
    return store


def _attributes(encoder: Encoder, key: str, options: RowOptions) -> dict[str, Any]:
    return {
        "key": key,
        "format": FORMAT,
        "model": encoder.model_id,
        "revision": encoder.revision,
        "weights_sha256": encoder.weights_hash,
        "dtype": encoder.dtype,
        "device": encoder.device,
        "capture": encoder.way,
        "capture_reason": encoder.way_reason,
        **asdict(options),
    }


def _names(study: Study | None) -> dict[str, str]:
    """Return what a cube says of its study: its name and its conditions a and b, whose difference is a - b."""
    if study is None:
        return {}
    a, b = study.conditions
    return {"study": study.name, "a": a.name, "b": b.name}
