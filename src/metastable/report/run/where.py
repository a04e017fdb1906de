"""Where the difference lives: on the words, or on where attention rests."""

from __future__ import annotations

import numpy as np

from metastable.heads.decomposition import MapComparison, compared_maps, sink_of, without_sinks
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_level, format_r, listed, plural, still_significant, unbroken
from metastable.report.run.scene import Scene
from metastable.report.sections import table
from metastable.stats.analysis import primary

__all__ = ["maps_table", "sink_held_sentence", "where_line", "where_sentences"]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _correlation(found: MapComparison) -> str:
    if not np.isfinite(found.r):
        return "–"
    return f"{format_r(found.r)} {unbroken(f'[{format_r(found.r_low)}, {format_r(found.r_high)}]')}"


def _resting(scene: Scene) -> str:
    """Say how much of the attention rests on the sink in either condition; empty where none is measured."""
    name = sink_of(scene.result.measured)
    if name is None:
        return ""
    heads = primary(scene.result.measured[name].heads)
    a, b = (_percent(float(heads[f"mean_{side}"].mean())) for side in "ab")
    what = "special tokens hold" if name == "special_mass" else "the first token holds"
    return f"{what} {a} of the attention in {scene.sides.a} and {b} in {scene.sides.b}{scene.sides.thing}"


def _learned_sink(scene: Scene) -> str:
    """Say what goes to learned sinks, which are no keys; empty where the heads have none."""
    if scene.result.learned_sink is None:
        return ""
    a, b = map(_percent, scene.result.learned_sink)
    return (
        f"Each head has a learned sink in its softmax, which is no token: it takes {a} of the attention in "
        f"{scene.sides.a} and {b} in {scene.sides.b}{scene.sides.thing}. Counts are of what the tokens receive."
    )


def _maps(scene: Scene) -> list[MapComparison]:
    return compared_maps(scene.result.measured, alpha=scene.alpha)


def where_line(scene: Scene) -> str:
    """Say in one sentence what part of the difference is where attention rests; empty where that is not known."""
    resting = _resting(scene)
    if not resting:
        return ""
    maps = {found.measure: found for found in _maps(scene)}
    parts = [f"Where attention rests: {resting}"]
    mass = maps.get(sink_of(scene.result.measured) or "")
    if mass is not None and np.isfinite(mass.r):
        parts.append(
            f"the map of effects on the {scene.measure.name} correlates with that on the {call_measure(mass.measure)} "
            f"at r = {format_r(mass.r)} over {plural(mass.n_heads, 'head')}"
        )
    other = next((maps[name] for name in without_sinks(maps)), None)
    n = 0 if other is None else other.kept + other.turned + other.lost
    if other is not None and n:
        parts.append(
            f"of the {plural(n, 'head')} that {'differs' if n == 1 else 'differ'} in the {scene.measure.name}, "
            f"{other.kept} differ in the same direction in the {call_measure(other.measure)}, {other.turned} in the "
            f"opposite one, and {other.lost} not demonstrably"
        )
    return "; ".join(parts) + "."


def where_sentences(scene: Scene) -> tuple[str, ...]:
    """Say why other measures are tested beside the run's own, and which of them could not be."""
    if not scene.result.beside:
        return ()
    lacking = scene.result.record.extraction.left_out
    sink = "one special token" if scene.has_special_tokens else "one token, such as the first,"
    return (
        "The count of an attention row over all keys depends on how much of the row rests on a sink: "
        f"with most of its mass on {sink} a row has a small count, however it spreads over the words. "
        f"So every run tests other measures of the same rows beside the {scene.measure.name}, "
        f"each corrected over its own heads ({scene.controls} {format_level(scene.alpha)}).",
        _learned_sink(scene),
        " ".join(f"The {call_measure(name)} is not among them: {reason}." for name, reason in lacking.items()),
    )


def maps_table(scene: Scene) -> str:
    """Return one row per measure: how its map of effects agrees with that of the run's own measure."""
    if not scene.result.beside:
        return ""
    effect, symbol = scene.effect, scene.effect.symbol
    rows = []
    for found in _maps(scene):
        heads = primary(scene.result.beside[found.measure].heads)
        rows.append(
            [
                call_measure(found.measure),
                str(int((heads["p_perm_fdr"] < scene.alpha).sum())),
                format_g(float(heads[effect.size].abs().median()), sign=False),
                _correlation(found),
                f"{found.same_sign} of {found.n_heads}",
                *(str(number) for number in (found.kept, found.turned, found.lost, found.gained)),
            ]
        )
    header = [
        "measure",
        "heads that differ",
        f"median \\|*{symbol}*\\|",
        f"*r* with the {scene.measure.name} [95% CI]",
        "same sign",
        "kept",
        "turned",
        "lost",
        "gained",
    ]
    note = (
        f"*Kept*, *turned* and *lost* are heads that differ in the {scene.measure.name} and differ in the other "
        "measure in the same direction, in the opposite one, or not demonstrably; *gained* differ in the other alone. "
        "The interval of *r* takes heads as independent draws (Fisher's *z*)."
    )
    return f"{table(header, rows, 'lrrrrrrrr')}\n\n{note}"


def sink_held_sentence(scene: Scene) -> str:
    """Say what is left of the effects when each unit's mass on the sink is held fixed; empty where it is not known."""
    held = scene.result.sink_held
    if held is None or held.empty:
        return ""
    before, after = scene.heads["p_perm_fdr"].to_numpy() < scene.alpha, held["p_held_fdr"].to_numpy() < scene.alpha
    raw, left = scene.heads[scene.effect.size].to_numpy(), held["size_held"].to_numpy()
    known, symbol = np.isfinite(left), scene.effect.symbol
    if not known.any():
        return ""
    turned = int((np.sign(raw) != np.sign(left))[known & before].sum())
    typical = [format_g(float(np.median(np.abs(sizes[known]))), sign=False) for sizes in (raw, left)]
    unknown = int((~known).sum())
    beside = f" beside {listed(scene.held_names)}" if scene.held else ""
    crossing = scene.contrast.crossing if scene.analysis.over_contexts else None
    alone = f", over {crossing.item_name}s alone" if crossing is not None else ""
    return (
        f"Holding each {scene.contrast.unit}'s {call_measure(str(held['held'].iloc[0]))} in the same head fixed by "
        f"regression{beside} (HC3 errors; MacKinnon & White, 1985{alone}) "
        f"{still_significant(before, after)}, moves the median |*{symbol}*| from {typical[0]} to {typical[1]}"
        + (f", and turns the sign of {turned} of those" if before.any() else "")
        + (f"; in {plural(unknown, 'head')} the two cannot be told apart" if unknown else "")
        + ". [sink_held.csv](sink_held.csv) has every head. "
        "The mass and the count are made of the same row, "
        "so this describes what goes along with what, and not what causes what."
    )
