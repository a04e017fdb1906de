"""The figures of a comparison's report, one of each kind for every attention site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

import metastable.figures as figures
from metastable.heads.compared_heads import Comparison
from metastable.report.plate import Given, Part, Plate, given

__all__ = ["PLATES", "effect_name"]


def effect_name(found: Comparison) -> str:
    """Return what figures call the effect: by its name where both reports have the same."""
    names = {report.effect.size_name for report in (found.first, found.second)}
    return names.pop() if len(names) == 1 else "effect (g or d)"


def _of_site(found: Comparison, site: str) -> Comparison:
    return replace(
        found,
        joined=found.joined[found.joined["site"] == site].reset_index(drop=True),
        effects=found.effects[found.effects["site"] == site].reset_index(drop=True),
        # over all sites the test is in the text; beside one of several sites its p would mislead
        agreement={},
    )


def _parts(found: Comparison, section: str = "") -> list[Part[Comparison]]:
    """Divide a comparison into its sites; models of other shapes stay whole."""
    sites = list(dict.fromkeys(found.effects["site"]))
    if found.relation == "other shape" or len(sites) == 1:
        return [Part(found, section=section)]
    return [Part(_of_site(found, site), f"_{site}", f" Site: {site}.", section) for site in sites]


def _led_by(leads: Callable[[Comparison], bool]) -> Callable[[Comparison], list[Part[Comparison]]]:
    """Put a figure above the first heading where it `leads`."""
    return lambda found: _parts(found, "lead" if leads(found) else "")


def _joined(found: Comparison) -> bool:
    return found.relation != "other shape"


def _same_heads(found: Comparison) -> bool:
    return found.relation == "same heads"


def _other_heads(found: Comparison) -> bool:
    return not _same_heads(found)


def _site(found: Comparison) -> str | None:
    return str(found.effects["site"].iloc[0]) if _joined(found) else None


def _maps(found: Comparison) -> Given:
    return given(found.primary, names=found.names, alpha=found.alpha, effect=effect_name(found))


def _maps_caption(found: Comparison) -> str:
    first, second = found.names
    return (
        f"Effect of every head in {first} and in {second}, and the difference {first} − {second}, on one scale. "
        f"Layer {found.primary['layer'].min()} is at the bottom."
    )


def _scatter_parts(found: Comparison) -> list[Part[Comparison]]:
    return [part for part in _parts(found) if part.result.primary["size_difference"].notna().any()]


def _scatter(found: Comparison) -> Given:
    agreed = found.agreement.get(found.thresholds[0])
    sides = (_one_side(found.primary, side, effect_name(found)) for side in ("first", "second"))
    return given(
        *sides, names=found.names, value=effect_name(found), alpha=found.alpha, p=None if agreed is None else agreed.p
    )


def _one_side(table: pd.DataFrame, side: str, value: str) -> pd.DataFrame:
    keys = table[["site", "layer", "head", "threshold"]]
    effects = table[f"size_{side}"].replace([np.inf, -np.inf], np.nan)
    return keys.assign(**{value: effects}, p_perm_fdr=table[f"p_perm_fdr_{side}"])


def _profiles(found: Comparison) -> Given:
    return given(found.effects, site=_site(found), relative=not _joined(found), effect=effect_name(found))


PLATES: tuple[Plate[Comparison], ...] = (
    Plate(
        "maps", "heads", figures.joined_effect_maps, _maps, _maps_caption, applies=_joined, parts=_led_by(_same_heads)
    ),
    Plate(
        "scatter",
        "agreement",
        figures.study_scatter,
        _scatter,
        lambda found: (
            f"Every head's effect in {found.names[1]} over its effect in {found.names[0]}; "
            "on the dashed line both are equal."
        ),
        applies=_joined,
        parts=_scatter_parts,
    ),
    Plate(
        "profiles",
        "layers",
        figures.effect_profiles,
        _profiles,
        lambda found: (
            f"Mean effect and mean size of the effect by {'layer' if _joined(found) else 'relative depth'}; "
            "thin lines hold the middle half of a layer's heads."
        ),
        parts=_led_by(_other_heads),
    ),
    Plate(
        "shares",
        "shares",
        figures.effect_shares,
        lambda found: given(found.effects, site=_site(found), effect=effect_name(found)),
        lambda _: "Share of the heads whose effect lies below each value.",
        applies=_other_heads,
        parts=_parts,
    ),
)
"""In the order of the page's own figures, the leading one apart."""
