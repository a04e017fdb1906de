"""The options of a study over many models, beside the study's own."""

from __future__ import annotations

from dataclasses import dataclass

from metastable.errors import InputError
from metastable.study.entries import option
from metastable.study.options import natural, seed

__all__ = ["ModelsOptions"]

_CHOSEN = "the models"


def _enough(text: str) -> int:
    value = natural(text)
    if value < 100:
        raise InputError(f"{text} draws are too few; give at least 100, better 1000")
    return value


@dataclass(frozen=True)
class ModelsOptions:
    """What was chosen for a study over many models; each field's entry says what it is."""

    model: tuple[str, ...] = option(
        (),
        str,
        "the models: ids, folders, id@revision, folder@checkpoint, or @file with one a line and a family after a tab",
        many=True,
        group=_CHOSEN,
    )
    families: tuple[str, ...] = option(
        (), str, "the family of each model, in their order (none: its architecture)", many=True, group=_CHOSEN
    )
    siblings: int = option(
        0,
        seed,
        "untrained networks of the first model's architecture that are read too: would any network do it?",
        group=_CHOSEN,
    )
    resamples: int = option(1000, _enough, "draws of models and units together", affects="tests", group=_CHOSEN)
