"""Which measure a run is about: the one that was named, or the study's own as far as it can be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metastable import study as described
from metastable.extraction.summarizing import lacking_for
from metastable.measures import COUNT, measure_named
from metastable.models.encoders import Encoder
from metastable.study import Options, Study
from metastable.study.options import THE_STUDYS_OWN

__all__ = ["named_measures", "settle_measures"]


def named_measures(study: Study, options: Options) -> tuple[str, ...]:
    """Return the names of all that a run compares as far as they are named: its measure, and those of its views."""
    names = dict.fromkeys((options.measure, *(view.measure for view in study.views)))
    return tuple(name for name in names if name not in ("", THE_STUDYS_OWN))


def settle_measures(
    study: Study, options: Options, encoder: Encoder, sequences: Sequence[described.Sequence]
) -> tuple[Study, Options]:
    """Name the measure of a run, of its study's claims and of its views, where that was left open.

    Parameters
    ----------
    study : Study
    options : Options
    encoder : Encoder
        The model, which must have what the measure needs.
    sequences : sequence of Sequence
        So must they.

    Returns
    -------
    study : Study
        Each claim says what it is about, each view what is looked at.
    options : Options
        With the name of a measure. Where keys or units were chosen and no measure, it is the count, since the others
        are taken of the whole row whatever was chosen.
    """
    own = study.measure
    while measure_named(own).gives_way_to and any(lacking_for(own, encoder, sequences)):
        own = measure_named(own).gives_way_to
    chosen = options.measure
    if chosen == THE_STUDYS_OWN:
        of_whole_rows = options.keys == "all" and options.unit == "tokens"
        chosen = own if of_whole_rows or not measure_named(own).whole_row else COUNT.name
    claims = tuple(replace(claim, measure=claim.measure or own) for claim in study.claims)
    views = tuple(replace(view, measure=view.measure or chosen) for view in study.views)
    return replace(study, claims=claims, views=views), replace(options, measure=chosen)
