"""The models of a run over many: what was typed for each, and what it stands for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from metastable.errors import InputError

__all__ = ["UNTRAINED", "NamedModel", "draws_of", "read_models", "trainings_of"]

UNTRAINED = "untrained"
"""The family of the random initialisations of the first model's architecture."""

_LONGEST = 80


@dataclass(frozen=True)
class NamedModel:
    """One model of a run over many.

    Attributes
    ----------
    given : str
        As it was typed.
    model : str
        A Hugging Face id, the bundled model's name, or a folder.
    revision : str or None
        Of an id.
    training : str
        What it is a checkpoint of; empty where no revision was named.
    label : str
        What readers see; no two models share one.
    family : str
        The family that was given; empty for that of its architecture.
    """

    given: str
    model: str
    revision: str | None
    training: str
    label: str
    family: str = ""

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "_", self.label).strip("._") or "model"

    @property
    def is_untrained(self) -> bool:
        """Whether it is a random initialisation that was made for this run."""
        return self.family == UNTRAINED and self.given.startswith("sibling ")


def read_models(given: Sequence[str], families: Sequence[str] = ()) -> tuple[NamedModel, ...]:
    """Read the names of models.

    Parameters
    ----------
    given : sequence of str
        Ids, folders, ``id@revision`` or ``folder@checkpoint`` (a folder in it), or ``@file``, a file with one a line;
        behind a tab a line may name the family. Empty lines and those that begin with # are passed over.
    families : sequence of str
        One a model, in their order; none for the families that files name, or those of the architectures.

    Returns
    -------
    tuple of NamedModel
        In the order given.

    Raises
    ------
    InputError
        If a file cannot be read or is empty, a model is given twice, or the families are not as many as the models.
    """
    pairs = [pair for text in given for pair in _expanded(text)]
    if not pairs:
        raise InputError("no model was given; give ids, folders or a file of them: --model A B C, or --model @FILE")
    if families:
        if any(family for _, family in pairs):
            raise InputError("families are given by --families and in the file of models; give them in one place")
        if len(families) != len(pairs):
            raise InputError(
                f"--families names {len(families)} families, but there are {len(pairs)} models; give one a model, in "
                "their order"
            )
        pairs = [(text, family) for (text, _), family in zip(pairs, families, strict=True)]
    twice = [text for place, (text, _) in enumerate(pairs) if text in [other for other, _ in pairs[:place]]]
    if twice:
        raise InputError(f"--model {twice[0]} is given twice; give each model once")
    return _labelled([_named(text, family) for text, family in pairs])


def _expanded(text: str) -> list[tuple[str, str]]:
    if not text.startswith("@"):
        return [(text.strip(), "")] if text.strip() else []
    path = Path(text[1:]).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--model {text}: {path} cannot be read ({error}); give a text file of one model a line"
        ) from None
    found = []
    for number, line in enumerate(lines, start=1):
        model, *rest = (part.strip() for part in line.split("\t"))
        if not model or model.startswith("#"):
            continue
        if model.startswith("@") or len(rest) > 1:
            raise InputError(
                f"{path}, line {number}: {line.strip()!r} is no model; give a model, and a family after a tab"
            )
        found.append((model, rest[0] if rest else ""))
    if not found:
        raise InputError(f"--model {text}: {path} names no model; give one a line")
    return found


def _named(text: str, family: str) -> NamedModel:
    if family == UNTRAINED:
        raise InputError(f"the family {UNTRAINED!r} is that of --siblings; give another name for that of {text}")
    whole = Path(text).expanduser()
    if whole.is_dir() or "@" not in text:
        label = whole.resolve().name if whole.is_dir() else text
        return NamedModel(text, text, None, "", label, family)
    name, _, revision = text.rpartition("@")
    if not name or not revision:
        raise InputError(f"--model {text}: give id@revision, or an id alone")
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / revision).is_dir():
            raise InputError(f"--model {text}: {folder} holds no folder {revision}; give one of its checkpoints")
        return NamedModel(text, str(folder / revision), None, name, f"{folder.resolve().name}@{revision}", family)
    return NamedModel(text, name, revision, name, text, family)


def _labelled(models: Sequence[NamedModel]) -> tuple[NamedModel, ...]:
    """Tell models apart whose labels or folders are alike: those of equally named folders, for instance."""
    seen: set[str] = set()
    found = []
    for model in models:
        one = replace(model, label=model.label if len(model.label) <= _LONGEST else "…" + model.label[-_LONGEST:])
        if one.folder.lower() in seen:
            one = replace(one, label=f"{one.label} ({hashlib.sha256(model.given.encode()).hexdigest()[:6]})")
        seen.add(one.folder.lower())
        found.append(one)
    return tuple(found)


def trainings_of(models: Sequence[NamedModel]) -> dict[str, list[int]]:
    """Return of each training with several checkpoints their positions, in the order given."""
    found: dict[str, list[int]] = {}
    for place, model in enumerate(models):
        if model.training:
            found.setdefault(model.training, []).append(place)
    return {name: places for name, places in found.items() if len(places) > 1}


def draws_of(models: Sequence[NamedModel]) -> list[bool]:
    """Return which models are draws from those that there could be.

    Checkpoints of one training are one draw, the last one given; untrained ones are none.
    """
    earlier = {place for places in trainings_of(models).values() for place in places[:-1]}
    return [place not in earlier and not model.is_untrained for place, model in enumerate(models)]
