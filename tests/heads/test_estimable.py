"""Covariates that the tests cannot hold fixed are refused when the contrast is known, before anything is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.heads.contrasts import Contrast, contrasts_of
from metastable.heads.estimable import require_estimable
from metastable.study import Condition, Design, Material, Sequence, Study

A, B = Condition("concrete", "a"), Condition("abstract", "b")
N = 24
DESIGNS: dict[str, tuple[Design, str]] = {
    "unpaired": (Design(), "sequence"),
    "paired": (Design(paired=True), "pair"),
    "slope": (Design(predictor="rating"), "sequence"),
    "crossed": (Design(paired=True, clustered=True, unit="word pair", context="carrier"), "word pair or carrier"),
    "crossed slope": (Design(predictor="rating", clustered=True, unit="word", context="carrier"), "word or carrier"),
}


def contrast(kind: str) -> Contrast:
    """Twelve texts on either side, in four contexts where the design has some."""
    rng = np.random.default_rng(1)
    design = DESIGNS[kind][0]
    sequences = []
    for number in range(N):
        first, unit = number < N // 2, number % (N // 2)
        covariates: dict[str, Any] = {
            "length": float(rng.normal()),
            "single": float(number == 5),
            "side": float(first),
            "twice": float(number in (3, 4, 8)),
        }
        crossed = "crossed" in kind
        if design.predictor:
            covariates["rating"] = float(unit) if crossed else float(rng.normal())
        sequences.extend(
            Sequence(
                identifier=f"s{number}-{context}", condition=(A if first else B).name, words=("w",), text="w",
                token_ids=(1, 2, 3), word_index=(-1, 0, -1), pair=f"p{unit}" if design.paired else None,
                cluster=f"u{number}" if design.predictor and crossed else None,
                context=None if context is None else f"c{context}", covariates=dict(covariates),
            )
            for context in (range(4) if crossed else (None,))
        )  # fmt: skip
    study = Study(name="s", title="T", question="Q?", conditions=(A, B), build=lambda o, t: Material(()), design=design)
    (found,) = contrasts_of(study, tuple(sequences))
    return found


@pytest.mark.parametrize("kind", DESIGNS)
def test_a_covariate_that_a_single_unit_decides_is_named(kind):
    made = contrast(kind)
    assert (made.crossing is not None) == ("crossed" in kind)
    require_estimable(made, ())
    require_estimable(made, ("length", "twice"))
    unit = DESIGNS[kind][1]
    with pytest.raises(InputError, match=rf"--covariates single: a single {unit} would decide .* leave the covariate"):
        require_estimable(made, ("length", "single"))


@pytest.mark.parametrize("kind", ["unpaired", "paired", "crossed"])
def test_what_a_design_refuses_is_told_with_the_option(kind):
    with pytest.raises(InputError, match=r"^--covariates length side: .*'side' is explained by the condition"):
        require_estimable(contrast(kind), ("length", "side"))
