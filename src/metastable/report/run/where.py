"""Where the difference lives: on the words, or on where attention rests."""

from __future__ import annotations

import numpy as np

from metastable.heads.decomposition import compared_maps, sink_of
from metastable.measures import call_measure
from metastable.report.apa import format_g, format_interval, format_level, format_r, plural, unbroken
from metastable.report.run.scene import Scene
from metastable.report.sections import table
from metastable.stats.analysis import primary

__all__ = ["maps_table", "sink_held_sentence", "where_line", "where_sentences"]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _resting(scene: Scene) -> str:
    """Say how much of the attention rests on the sink in either condition; empty where none is measured."""
    name = sink_of(scene.result.measured)
    if name is None:
        return ""
    heads = primary(scene.result.measured[name].heads)
    a, b = (_percent(float(heads[f"mean_{side}"].mean())) for side in "ab")
    what = "special tokens hold" if name == "special_mass" else "the first token holds"
    return f"{what} {a} of the attention in {scene.sides.a} and {b} in {scene.sides.b}{scene.sides.thing}"


def where_line(scene: Scene) -> str:
    """Say in one sentence what part of the difference is where attention rests; empty where that is not known."""
    resting = _resting(scene)
    if not resting:
        return ""
    maps = compared_maps(scene.result.measured, alpha=scene.alpha).set_index("measure")
    parts = [f"Where attention rests: {resting}"]
    sink, own = sink_of(scene.result.measured), scene.options.measure
    if sink in maps.index and np.isfinite(maps.loc[sink, "r"]):
        parts.append(
            f"the map of effects on the {scene.measure.name} correlates with that on the {call_measure(str(sink))} at "
            f"r = {format_r(float(maps.loc[sink, 'r']))} over {plural(int(maps.loc[sink, 'n_heads']), 'head')}"
        )
    other = next((name for name in ("count_words", "count_contributions") if name in maps.index and name != own), None)
    if other is not None:
        row = maps.loc[other]
        n = int(row["kept"] + row["turned"] + row["lost"])
        parts.append(
            f"of the {plural(n, 'head')} that differ in the {scene.measure.name}, {row['kept']} differ in the same "
            f"direction in the {call_measure(other)}, {row['turned']} in the other, and {row['lost']} not demonstrably"
        )
    return "; ".join(parts) + "."


def where_sentences(scene: Scene) -> tuple[str, ...]:
    """Say how the maps of the measures agree, before their table."""
    if not scene.result.beside:
        return ()
    line = where_line(scene)
    return (
        f"The count of an attention row over all keys depends on how much of it rests on a sink: "
        f"a row with most of its mass on one special token is counted small, however it spreads over the words. "
        f"So every run tests other measures of the same rows beside the {scene.measure.name}, "
        f"each corrected over its own heads (FDR {format_level(scene.alpha)}).",
        line,
    )


def maps_table(scene: Scene) -> str:
    """Return one row per measure: how its map of effects agrees with that of the run's own measure."""
    if not scene.result.beside:
        return ""
    maps = compared_maps(scene.result.measured, alpha=scene.alpha)
    effect, symbol = scene.effect, scene.effect.symbol
    rows = []
    for row in maps.to_dict("records"):
        heads = primary(scene.result.beside[str(row["measure"])].heads)
        rows.append(
            [
                call_measure(str(row["measure"])),
                str(int((heads["p_perm_fdr"] < scene.alpha).sum())),
                format_g(float(heads[effect.size].abs().median()), sign=False),
                f"{format_r(row['r'])} {unbroken(format_interval(row['r_low'], row['r_high']))}",
                f"{row['same_sign']} of {row['n_heads']}",
                str(row["kept"]),
                str(row["turned"]),
                str(row["lost"]),
                str(row["gained"]),
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
        f"*Kept*, *turned* and *lost* are heads that differ in the {scene.measure.name} and differ in the other measure in "
        "the same direction, in the opposite one, or not demonstrably; *gained* differ in the other alone. "
        "The interval of *r* takes heads as independent draws (Fisher's *z*)."
    )
    return f"{table(header, rows, 'lrrrrrrrr')}\n\n{note}"


def sink_held_sentence(scene: Scene) -> str:
    """Say what is left of the effects when each unit's mass on the sink is held fixed; empty where it is not known."""
    held = scene.result.sink_held
    if held is None or held.empty:
        return ""
    before = scene.heads["p_perm_fdr"] < scene.alpha
    after = held["p_held_fdr"].to_numpy() < scene.alpha
    known = np.isfinite(held["size_held"].to_numpy())
    size = scene.heads[scene.effect.size].to_numpy()
    turned = int((np.sign(size) != np.sign(held["size_held"].to_numpy()))[known & before.to_numpy()].sum())
    unknown = int((~known).sum())
    sink = call_measure(str(held["held"].iloc[0]))
    return (
        f"Holding each {scene.contrast.unit}'s {sink} in the same head fixed by regression (HC3 errors; MacKinnon & White, "
        f"1985) leaves {int((before.to_numpy() & after).sum())} of the {plural(int(before.sum()), 'head')} significant, "
        f"moves the median |*{scene.effect.symbol}*| from {format_g(float(np.median(np.abs(size))), sign=False)} to "
        f"{format_g(float(np.nanmedian(np.abs(held['size_held']))), sign=False)}, and turns the sign of {turned}"
        + (f"; in {plural(unknown, 'head')} the two cannot be told apart" if unknown else "")
        + ". [sink_held.csv](sink_held.csv) has every head. "
        "The mass and the count are made of the same row, so this describes what goes along with what, and not what "
        "causes what."
    )
