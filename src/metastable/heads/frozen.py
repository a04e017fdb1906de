"""Claims and recipe of a study, recorded before anything is counted, and whether a run keeps to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metastable import study as described
from metastable.errors import InputError
from metastable.heads.record import FrozenNote, Record
from metastable.study import Claim, Options, Study
from metastable.study.own_options import options_of
from metastable.typed_json import plain

__all__ = ["FILE", "FrozenStudy", "freeze", "frozen_note", "read_frozen", "sequences_hash"]

FILE = "frozen.json"
"""Name of the file in the study's folder."""


@dataclass(frozen=True)
class FrozenStudy(Record):
    """What frozen.json holds.

    Attributes
    ----------
    study : str
    frozen : str
        Date and time, in ISO 8601.
    command : str
        What was typed.
    claims : tuple of Claim
        As the study's file states them.
    measure : str
        The study's own measure.
    design : mapping
        What may be exchanged.
    options : mapping of str to object
        Values of all options that affect counts or tests.
    sequences : str
        SHA-256 of what the model will read.
    n_sequences : int
    commit : str or None
        Of the repository that the study's file lies in; with "+" behind it where that had changes.
    sha256 : str
        Hash of all the above.
    """

    study: str
    frozen: str
    command: str
    claims: tuple[Claim, ...]
    measure: str
    design: Mapping[str, Any]
    options: Mapping[str, Any]
    sequences: str
    n_sequences: int
    commit: str | None
    sha256: str

    def hashed(self) -> str:
        """Return the hash of all but the hash."""
        held = {name: value for name, value in self.to_json().items() if name != "sha256"}
        return hashlib.sha256(json.dumps(held, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def sequences_hash(sequences: Sequence[described.Sequence]) -> str:
    """Hash what the model reads, and what joins it.

    Parameters
    ----------
    sequences : sequence of Sequence

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    digest = hashlib.sha256()
    for one in sequences:
        joined = (one.cluster, one.pair, one.level, one.context)
        digest.update(json.dumps([one.identifier, one.condition, one.token_ids, one.segment_ids, joined]).encode())
    return digest.hexdigest()


def _chosen(study: Study, options: Options) -> dict[str, Any]:
    values = options.to_json()
    return {entry.name: values[entry.name] for entry in options_of(study) if entry.affects != "nothing"}


def freeze(
    study: Study,
    options: Options,
    sequences: Sequence[described.Sequence],
    *,
    command: str,
    commit: str | None,
    at: str,
) -> FrozenStudy:
    """Make the record of a study that nothing was counted of.

    Parameters
    ----------
    study : Study
    options : Options
    sequences : sequence of Sequence
        What the model will read.
    command : str
        What was typed.
    commit : str or None
        Of the repository, if there is one.
    at : str
        Date and time, in ISO 8601.

    Returns
    -------
    FrozenStudy
    """
    record = FrozenStudy(
        study=study.name,
        frozen=at,
        command=command,
        claims=study.claims,
        measure=study.measure,
        design=plain(study.design),
        options=_chosen(study, options),
        sequences=sequences_hash(sequences),
        n_sequences=len(sequences),
        commit=commit,
        sha256="",
    )
    return FrozenStudy(**{**vars(record), "sha256": record.hashed()})


def read_frozen(folder: Path) -> FrozenStudy | None:
    """Read what was frozen in a study's folder.

    Returns
    -------
    FrozenStudy or None
        None where nothing was.

    Raises
    ------
    InputError
        If the file cannot be read, or was changed since.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    record = FrozenStudy.read(path)
    if record.hashed() != record.sha256:
        raise InputError(
            f"{path} was changed after it was frozen: its hash does not fit it; take it away, and the report will not "
            "say that anything was claimed before the run"
        )
    return record


def _differences(record: FrozenStudy, study: Study, options: Options, sequences: str) -> tuple[str, ...]:
    """Name what a run does otherwise than was frozen."""
    found = []
    if plain(record.claims) != plain(study.claims):
        found.append("the claims")
    if record.measure != study.measure:
        found.append("the study's own measure")
    if plain(record.design) != plain(study.design):
        found.append("the design")
    chosen, frozen = _chosen(study, options), plain(record.options)
    found += [f"--{name.replace('_', '-')}" for name in chosen if frozen.get(name) != chosen[name]]
    if not found and record.sequences != sequences:
        found.append("what the model reads")
    return tuple(found)


def frozen_note(
    record: FrozenStudy, study: Study, options: Options, sequences: Sequence[described.Sequence]
) -> FrozenNote:
    """Say whether a run keeps to what was frozen.

    Parameters
    ----------
    record : FrozenStudy
    study : Study
        With its claims as its file states them.
    options : Options
        As they were given.
    sequences : sequence of Sequence
        What the model reads.

    Returns
    -------
    FrozenNote
    """
    differing = _differences(record, study, options, sequences_hash(sequences))
    return FrozenNote(record.frozen, record.sha256, record.commit, differing)
