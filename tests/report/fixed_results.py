"""Results of runs that never were, made by the real tests on fixed counts: one of each design."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metastable.heads.contrasts import Contrast, contrasts_of
from metastable.heads.judged_claims import ClaimedOn, judge_claims
from metastable.heads.packings import POOLED, PackingVerdicts, packing_rows
from metastable.heads.record import (
    ContrastRecord,
    ExtractionRecord,
    ModelRecord,
    PermutationRecord,
    RunRecord,
    SiteRecord,
)
from metastable.heads.results import RunResult
from metastable.heads.spread import STEPS, Spread
from metastable.heads.word_units import word_contrasts
from metastable.measures import MEASURES, measure_named
from metastable.stats.analysis import Analysis, Settings, TokenRows, join_analyses
from metastable.stats.balance import balance_table
from metastable.stats.contexts.generalized import Observations
from metastable.stats.difference import analyse
from metastable.stats.permutations.engine import PermutationResult
from metastable.stats.simulation.sensitivity import Sensitivity
from metastable.stats.slope import analyse_slope
from metastable.study import Claim, Condition, Design, Factor, Material, Options, Sequence, Study

LAYERS, HEADS, TOKENS = 2, 3, 9
FEATURES = pd.DataFrame(
    {
        "site": "self",
        "layer": np.repeat(np.arange(1, LAYERS + 1), HEADS),
        "head": np.tile(np.arange(1, HEADS + 1), LAYERS),
    }
)
WORDS = {
    "concrete": ["table", "river", "spoon", "horse", "candle", "bridge"],
    # what Markdown would take for markup must come out as it went in
    "abstract": ["mercy", "self_made", "a|b", "<em>", "1.", "`hope`"],
}
# Effect of the condition on the count of each head: none, small, large, in both directions.
EFFECTS = np.array([0.0, 0.1, 1.5, -1.2, 0.4, -2.5])


def _sequences(n: int, *, factor: bool, rated: bool) -> tuple[Sequence, ...]:
    """Make n sequences a condition, or twice as many where each unit has both levels of a factor."""
    rng = np.random.default_rng(5)
    made = []
    for condition, words in WORDS.items():
        for number in range(n):
            rating = float(0.8 - 0.02 * number if condition == "concrete" else 0.4 - 0.02 * number)
            characters = float(6 + rng.normal(0, 1) + (0 if condition == "concrete" else 1.5))
            for level in ("near", "far") if factor else (None,):
                chosen = tuple(words[int(place)] for place in rng.permutation(len(words))[:4])
                pieces = (-1, 0, 1, 1, 2, 2, 3, 3, -1)
                made.append(
                    Sequence(
                        identifier=f"{condition}-{number:02d}{level or ''}",
                        condition=condition,
                        words=chosen,
                        text=" ".join(chosen),
                        token_ids=tuple(range(TOKENS)),
                        word_index=pieces,
                        pair=f"{condition}-{number}" if factor else f"pair-{number}",
                        level=level,
                        covariates={"characters": characters, "zipf": float(3 + rng.normal(0, 0.5))}
                        | ({"rating": rating} if rated else {}),
                    )
                )
    return tuple(made)


def _study(design: Design, **more: Any) -> Study:
    return Study(
        name="fixed",
        title="A fixed study",
        question="Do the fixed counts of concrete and abstract words differ?",
        conditions=(
            Condition("concrete", "sequences of words for things"),
            Condition("abstract", "sequences of words for ideas"),
        ),
        build=lambda options, tokenizer: Material(()),
        design=design,
        caveat="these counts were made up.",
        measure="count",
        **more,
    )


STUDIES: dict[str, Study] = {
    "plain": _study(Design(), claims=(Claim(measure="count", statement="some heads differ"),)),
    "paired": _study(Design(paired=True, unit="word pair")),
    "crossed": _study(Design(paired=True, unit="word pair", context="carrier")),
    "clustered": _study(Design(clustered=True, unit="answer")),
    "factorial": _study(
        Design(
            factor=Factor("distance", (Condition("near", "the word is near"), Condition("far", "the word is far"))),
            unit="answer",
        ),
        claims=(Claim(contrast="interaction", measure="count", statement="distance matters more for concrete words"),),
    ),
    "slope": _study(
        Design(predictor="rating"), claims=(Claim(measure="count", statement="some heads rise with the rating"),)
    ),
    "crossed_slope": _study(Design(clustered=True, predictor="rating", unit="word", context="carrier")),
    "crossed_factorial": _study(
        Design(
            factor=Factor("distance", (Condition("near", "the word is near"), Condition("far", "the word is far"))),
            unit="answer",
            context="clip",
        ),
        claims=(Claim(contrast="interaction", measure="count", statement="distance matters more for concrete words"),),
    ),
    "packings": _study(Design()),
}


def _counts(sequences: tuple[Sequence, ...], scale: float) -> np.ndarray[Any, Any]:
    """Counts of every token, shape (n_sequences, TOKENS, n_features)."""
    rng = np.random.default_rng(9)
    a = np.array([sequence.condition == "concrete" for sequence in sequences])
    far = np.array([sequence.level == "far" for sequence in sequences])
    centre = 4.5 + np.outer(a - 0.5 + 0.6 * (far & a), EFFECTS) * scale
    own = rng.normal(0, 0.4, centre.shape)
    drawn = rng.normal((centre + own)[:, None, :], 1.2, (len(sequences), TOKENS, len(FEATURES)))
    return np.clip(np.rint(drawn), 1, TOKENS).astype(np.int64)


def _analysis(contrast: Contrast, counts: np.ndarray[Any, Any], options: Options, threshold: float) -> Analysis:
    tokens = counts.reshape(-1, counts.shape[-1]).astype(np.float64)
    owner = np.repeat(np.arange(len(counts)), TOKENS)
    nuisance = contrast.covariates[list(options.covariates)]
    rows = TokenRows(
        read=lambda columns: tokens[:, columns],
        group=owner,
        design=contrast.design[owner],
        cluster=None if contrast.crossed is None else contrast.crossed[owner],
    )
    sides = contrast.sides
    arguments: dict[str, Any] = {
        "threshold": threshold,
        "measure": options.measure,
        "medians": np.stack([np.median(counts[sides == side].reshape(-1, len(FEATURES)), axis=0) for side in (0, 1)]),
        "tokens": rows,
        "recorded": contrast.covariates,
        "settings": Settings(n_permutations=499, n_resamples=100),
    }
    values = contrast.values(counts.mean(axis=1))
    if contrast.crossing is not None:
        crossing = contrast.crossing
        arguments["contexts"] = Observations(
            crossing.values(counts.mean(axis=1)),
            crossing.condition,
            crossing.item,
            crossing.context,
            names=(crossing.item_name.replace(" ", "_"), crossing.context_name),
            measure=f"{crossing.outcome}mean count",
            covariates=crossing.covariates[list(options.covariates)] if options.covariates else None,
            recorded=crossing.covariates,
            predictor=crossing.predictor,
            effect_name=crossing.effect,
        )
        nuisance = None
    if contrast.predictor is not None:
        return analyse_slope(
            values, contrast.predictor, FEATURES, condition=contrast.condition, covariates=nuisance, **arguments
        )
    return analyse(values, contrast.condition, FEATURES, pair=contrast.pair, **arguments)


def _power() -> Sensitivity:
    effect = np.linspace(0, 2, 9)
    power = 1 / (1 + np.exp(-6 * (effect - 0.9)))
    curve = pd.DataFrame({"effect": effect, "power": power, "low": power - 0.02, "high": power + 0.02})
    return Sensitivity(curve, 1.13, 1.09, 1.17, 0.8, 0.1, "bh", 0.05, 200)


def _spread(counts: np.ndarray[Any, Any], sides: np.ndarray[Any, Any]) -> Spread:
    """Every query sees all tokens of its sequence, which are as many in each."""
    shares = [(counts[sides == side] / TOKENS).reshape(-1, len(FEATURES)) for side in (0, 1)]
    steps = [np.ceil(STEPS * one).astype(int) for one in shares]
    return Spread(
        quartiles=np.stack([np.quantile(one, [0.25, 0.5, 0.75], axis=0).T for one in shares]),
        histograms=np.stack([[np.bincount(column, minlength=STEPS + 1) for column in one.T] for one in steps]),
        **{name: np.full(len(FEATURES), TOKENS) for name in ("fewest", "usual", "most")},
    )


def _record(study: Study, options: Options, contrast: Contrast, n_sequences: int, analysis: Analysis) -> RunRecord:
    return RunRecord(
        study=study.name,
        title=study.title,
        command="python -m studies fixed",
        finished="2021-05-03T12:00:00+00:00",
        options=options,
        model=ModelRecord(
            id="fixed_model",
            folder=None,
            revision="abc123",
            weights_sha256="0123456789abcdef" * 4,
            dtype="torch.float32",
            sites=(SiteRecord("self", LAYERS, HEADS),),
        ),
        sources={"norms": "MT40k (Brysbaert et al., 2014), as installed", "norms SHA-256": "fedcba9876543210" * 4},
        notes=(),
        n_sequences=n_sequences,
        contrast=ContrastRecord(
            contrast.name,
            contrast.a.name,
            contrast.b.name,
            contrast.unit,
            paired=contrast.pair is not None,
            predictor=None if contrast.predictor is None else contrast.formula,
        ),
        permutations=PermutationRecord(analysis.n_permutations, analysis.exact),
        extraction=ExtractionRecord("abc", "interface", "equal on a probe", reused=False),
        device="cpu",
        seconds={"sequences": 1.0, "extraction": 2.5},
        packages={"metastable": "0.1.0", "torch": "2.0", "transformers": "5.0"},
        python="3.11.7",
        platform="Linux",
        verdict=None,
    )


def _not_directed(direction: str) -> PermutationResult:
    raise AssertionError(f"no fixed study claims that anything is {direction}")


def _in_packings(study: Study, material: Material) -> tuple[Material, tuple[Contrast, ...]]:
    """Take every second sequence as one of the second packing, and for each sequence a word as a unit."""
    sequences = tuple(
        replace(one, packing=str(1 + number % 2), pair=None) for number, one in enumerate(material.sequences)
    )
    units = tuple(
        replace(one, identifier=f"{one.condition}: w{number}", words=(f"w{number}",), token_ids=(), word_index=())
        for number, one in enumerate(sequences)
    )
    return replace(material, sequences=sequences, packings=2, units=units), word_contrasts(study, units)


def _over_packings(
    study: Study, material: Material, words: Analysis, options: Options, scale: float
) -> PackingVerdicts:
    parts = []
    for packing in ("1", "2"):
        mine = tuple(one for one in material.sequences if one.packing == packing)
        found = _analysis(contrasts_of(study, mine)[0], _counts(mine, scale), options, options.threshold[0])
        parts.append(packing_rows(found, packing, "sequence"))
    pooled = packing_rows(words, POOLED, "word").assign(design_effect=np.linspace(1, 1.5, len(FEATURES)))
    return PackingVerdicts(pd.concat([*parts, pooled], ignore_index=True))


def fixed_result(name: str, folder: Path = Path("fixed"), *, scale: float = 1.0, **changed: Any) -> RunResult:
    """Make the result of a design.

    Parameters
    ----------
    name : str
        Of `STUDIES`.
    folder : Path
        Where its report would go.
    scale : float
        Of the effects; 0 for none.
    **changed
        Options other than the defaults.
    """
    study = STUDIES[name]
    options = replace(Options(model="fixed_model", measure="count"), **changed)
    if name == "slope":
        options = replace(options, covariates=("characters",))
    design = study.design
    sequences = _sequences(12, factor=design.factor is not None, rated=design.predictor is not None)
    if name == "clustered":
        sequences = tuple(
            replace(one, cluster=f"{one.condition}-{number % 8}", pair=None) for number, one in enumerate(sequences)
        )
    if name == "crossed_slope":
        sequences = tuple(replace(one, cluster=one.identifier, pair=None) for one in sequences)
    if name in ("crossed", "crossed_slope", "crossed_factorial"):
        sequences = tuple(
            replace(one, identifier=f"{one.identifier}-{place}", context=f"carrier {place}")
            for one in sequences
            for place in range(5)
        )
    contrasts = contrasts_of(study, sequences)
    material = Material(sequences, notes=("the last 3 words of words_1|2.csv did not fill a sequence",), of_words=True)
    if name == "packings":
        material, contrasts = _in_packings(study, material)
    counts = _counts(sequences, scale) - 1
    thresholds = options.threshold if measure_named(options.measure).of_threshold else options.threshold[:1]
    analyses = tuple(
        # a smaller share of the mass is held by fewer tokens
        join_analyses(
            [
                _analysis(contrast, counts // (place + 1) + 1, options, threshold)
                for place, threshold in enumerate(thresholds)
            ]
        )
        for contrast in contrasts
    )
    primary = contrasts[0]
    histograms = np.stack(
        [
            [np.bincount(1 + counts[primary.sides == side, :, feature].ravel(), minlength=TOKENS + 1)
             for feature in range(len(FEATURES))]
            for side in (0, 1)
        ]
    )  # fmt: skip
    return RunResult(
        study=study,
        folder=folder,
        contrasts=contrasts,
        analyses=analyses,
        beside={},
        views=(),
        claims=judge_claims(
            study.claims,
            {
                contrast.name: ClaimedOn(options.measure, analysis, _not_directed)
                for contrast, analysis in zip(contrasts, analyses, strict=True)
            },
            alpha=options.alpha,
            margin=options.margin,
        ),
        material=material,
        balance=balance_table(primary.covariates, primary.condition),
        sensitivity=None if primary.predictor is not None or analyses[0].over_contexts else _power(),
        joint=None,
        histograms=np.stack([histograms] * len(options.threshold)),
        spread=_spread(1 + counts, primary.sides),
        unit_values=primary.values(1 + counts.mean(axis=1)),
        record=_record(study, options, primary, len(sequences), analyses[0]),
        packings=_over_packings(study, material, analyses[0], options, scale) if name == "packings" else None,
    )


def every_measure() -> Iterator[str]:
    """Yield the names of all measures."""
    yield from (measure.name for measure in MEASURES)
