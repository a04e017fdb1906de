"""The clauses of the methods paragraph that are the same of every effect."""

from __future__ import annotations

from metastable.heads.record import RunRecord
from metastable.measures import call_measure
from metastable.report.apa import listed, with_article
from metastable.report.measure_words import define_measure, measure_words, row_clauses
from metastable.report.run.scene import Scene
from metastable.study import Factor, Options

__all__ = [
    "inference_clause",
    "measured_clause",
    "mixed_clause",
    "model_clause",
    "number_type",
    "observation_clause",
    "own_measure_clause",
    "ratings_clause",
    "relabelings_clause",
]


def model_clause(record: RunRecord) -> str:
    """Name the model and the packages that ran it."""
    model, packages = record.model, record.packages
    revision = f"revision {model.revision}, " if model.revision else ""
    dtype = number_type(record)
    half = "" if dtype == "float32" else f" read in {dtype}"
    return (
        f"{model.id} ({revision}weights SHA-256 {model.weights_sha256[:12]}…{half}; transformers "
        f"{packages['transformers']}, torch {packages['torch']})"
    )


def number_type(record: RunRecord) -> str:
    """Return the type of the model's weights: float32, bfloat16, float16."""
    return record.model.dtype.removeprefix("torch.")


def ratings_clause(record: RunRecord) -> str:
    """Say where questions and ratings come from, as far as the material's sources tell."""
    sources, said = record.sources, []
    if str(sources.get("questions", "")).startswith("TVQA"):
        said.append(" Questions and answers were those of TVQA (Lei et al., 2018).")
    norms = str(sources.get("norms", ""))
    if "Brysbaert" in norms:
        said.append(" Concreteness ratings were those of Brysbaert et al. (2014).")
    elif norms:
        said.append(f" Ratings were the {norms}.")
    return "".join(said)


def measured_clause(options: Options) -> str:
    """Say what was taken of each attention row, as a sentence in the past."""
    measure = measure_words(options)
    asked, changes = row_clauses(options)
    first, *others = (f"{100 * value:g}%" for value in options.threshold)
    shares = listed([f"{first} (the primary threshold)", *others]) if others else first
    meaning = f", which is {measure.meaning}" if measure.meaning else ""
    cited = f" ({measure.cited})" if measure.cited else ""
    what = f"the {measure.name}: {define_measure(options, shares)}{meaning}{cited}"
    changed = "".join(f" {change}" for change in changes)
    return f"For every attention head and every {asked} we took {what}. Padding was neither key nor query.{changed}"


def inference_clause(scene: Scene) -> str:
    """Say over what inference is."""
    crossing = scene.contrast.crossing
    if crossing is None or not scene.analysis.over_contexts:
        return f"The {scene.contrast.unit} is the unit of inference."
    return f"Inference is over {crossing.item_name}s and {crossing.context_name}s."


def _observed_in_contexts(scene: Scene) -> str:
    """Say what one observation is where tests are over items and contexts."""
    crossing, measure = scene.contrast.crossing, scene.measure.name
    if crossing is None:
        raise TypeError("the design has no contexts")
    item, context = crossing.item_name, crossing.context_name
    factor = scene.result.study.design.factor
    if factor is not None:
        return _observed_cells(scene, factor, item, context)
    if " ~ 1 +" in scene.analysis.over_contexts:
        sides = "the two sides" if scene.contrast.pair is not None else "the two conditions"
        return (
            f"The mean {measure} of a sequence was taken, and the difference between {sides} of "
            f"{with_article(item)} in one {context} was one observation."
        )
    repeated = "" if item == "sequence" else f" of {with_article(item)}"
    return f"The mean {measure} of a sequence{repeated} in one {context} was one observation."


def _observed_cells(scene: Scene, factor: Factor, item: str, context: str) -> str:
    """Say what one observation is in a two-by-two design in contexts."""
    contrast, measure = scene.contrast, scene.measure.name
    first, second = (level.name for level in factor.levels)
    of = {
        "interaction": f"difference of the mean {measure} between {first} and {second}",
        "condition": f"mean {measure}, averaged over {first} and {second},",
    }.get(contrast.name, f"mean {measure}")
    if contrast.pair is None:
        return f"The {of} of {with_article(item)} in one {context} was one observation."
    sides = f"{first} and {second}" if contrast.name == factor.name else "the two conditions"
    averaged = ", averaged over the conditions," if contrast.name == factor.name else ""
    return (
        f"The {of}{averaged} of {with_article(item)} in one {context} was taken, and its difference between {sides} "
        "was one observation."
    )


def observation_clause(scene: Scene) -> str:
    """Say what one observation is, as a sentence in the past."""
    contrast, measure = scene.contrast, scene.measure.name
    if scene.analysis.over_contexts:
        return _observed_in_contexts(scene)
    unit, factor = contrast.unit, scene.result.study.design.factor
    if contrast.name == "interaction" and factor is not None:
        first, second = (level.name for level in factor.levels)
        return f"The difference of the mean {measure} between {first} and {second} of one {unit} was one observation."
    if scene.packings > 1:
        return _observed_words(scene)
    if contrast.pair is not None:
        return (
            f"The mean {measure} of each side of {with_article(unit)} was one observation, "
            f"and sides were compared within {unit}s."
        )
    if unit == "sequence":
        return f"The mean {measure} of a sequence was one observation."
    return f"The mean {measure} of a sequence, averaged over the sequences of one {unit}, was one observation."


def _observed_words(scene: Scene) -> str:
    """Say what one observation is where words are read in several packings, and what is done about what they share."""
    measure, pairs = scene.measure.name, scene.contrast.pair is not None
    rows = "" if scene.options.queries == "words" else "; the rows of special tokens belong to no word and are left out"
    return (
        f"The {measure} of a word, averaged over the rows of its pieces and then over the {scene.packings} packings "
        f"that it was read in, was one observation{rows}. "
        + ("The two words of a pair stood in the same slot of two sequences, and were compared within pairs. " * pairs)
        + f"{'Pairs' if pairs else 'Words'} of one sequence share its noise, and a word moves its neighbours in every "
        "packing: deviations were widened until the standard error was that of sequences among which those with a word "
        "in common depend on each other (after Aronow et al., 2015), drawn towards that of one packing by what so many "
        "packings leave uncertain."
    )


def own_measure_clause(scene: Scene) -> str:
    """Say that the run is about another measure than the study, and why; empty where it is not."""
    own, taken = scene.result.study.measure, scene.options.measure
    if own == taken:
        return ""
    reason = scene.result.record.extraction.left_out.get(own)
    if reason is None:
        return f"The study's own measure is the {call_measure(own)}; this run was asked for the {call_measure(taken)}."
    return (
        f"The study's own measure is the {call_measure(own)}, which {reason}; this run is about the "
        f"{call_measure(taken)} instead."
    )


def relabelings_clause(scene: Scene) -> str:
    """Say how many relabelings there were, and how p came of them."""
    permutations = scene.result.record.permutations
    if permutations.exact:
        return f"all {permutations.used:,} distinct relabelings"
    return f"{permutations.used:,} random relabelings, *p* = (*b* + 1) / (*m* + 1) (Phipson & Smyth, 2010)"


def mixed_clause(model: str) -> str:
    """Say which mixed model was fitted, in lme4's notation; empty if `model` is."""
    if not model:
        return ""
    rows = "sequence means" if model.startswith("mean ") else "the values of single tokens"
    return (
        f" As a second analysis, {rows} entered the linear mixed model {model} "
        "(REML, Satterthwaite degrees of freedom, as lme4 and lmerTest fit it; "
        "Bates et al., 2015; Kuznetsova et al., 2017)."
    )
