"""The answer page: what the reports of a folder say about the founding question, and what they leave open."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from metastable.heads.answer_facts import AnswerFacts, MeasureFact, StudyFact
from metastable.heads.record import ComparisonRecord, ManyModelsRecord, MeasureOverModels
from metastable.measures import call_measure
from metastable.program import typed
from metastable.report.apa import format_g, format_interval, format_r, listed, p_phrase, plural
from metastable.report.markdown import as_text
from metastable.report.sections import bullets, table

__all__ = ["FOUNDING", "answer"]


@dataclass(frozen=True)
class Founding:
    """One kind of material that the founding question was put to.

    Attributes
    ----------
    study : str
        Name of the study.
    called : str
        What its material is called in a sentence.
    contexts : str
        What its items stand in.
    """

    study: str
    called: str
    contexts: str = "contexts"


# Length, frequency and word pieces, by the names of the covariates.
_MATCHED = ("characters", "zipf", "word_pieces")

FOUNDING = (
    Founding("mt40k_topbotk", "raw lists"),
    Founding("mt40k_matched", "matched lists"),
    Founding("carrier_pairs", "matched nouns in sentences", "sentences"),
    Founding("tvqa_answers", "TVQA's questions behind their answers", "clips"),
    Founding("tvqa_pools", "TVQA's questions before pools of answers", "clips"),
)
"""In the order of the page."""

# The measures of the founding table, and what their columns are called.
_MEASURES = {
    "count": "all keys",
    "count_contributions": "contributions",
    "count_words": "words alone",
    "special_mass": "on special tokens",
}
_CONTROLS = ("null_split", "positive_control")


def answer(facts: AnswerFacts) -> str:
    """Write what is known about the founding question, in Markdown.

    Parameters
    ----------
    facts : AnswerFacts

    Returns
    -------
    str
        A section with its heading; empty where no report of a founding study is there.
    """
    known = [(founding, facts.studies[founding.study]) for founding in FOUNDING if founding.study in facts.studies]
    if not known:
        return ""
    said = [
        _whether(known),
        _matching(facts),
        *(_items(founding, fact) for founding, fact in known),
        _packings(facts),
        *_models(facts),
        _tvqa(known),
        _controls(facts),
    ]
    blocks = [
        "## What is known about the founding question",
        "*Do a transformer's attention heads answer concrete and abstract words differently?*",
        _in_short(facts, known),
        f"Every number is read from the reports beside this page; `{typed('answer')}` writes it anew.",
        _founding_table(known),
        "Each cell: heads that differ (false discovery rate) and the size of the typical head (root of the mean of "
        "*g*² less its sampling variance).",
        _keys_table(known),
        bullets([text for text in said if text]),
        "**Undecided**",
        bullets(_undecided(facts, known)),
        _commands(),
    ]
    return "\n\n".join(block for block in blocks if block)


def _is_tvqa(founding: Founding) -> bool:
    return founding.study.startswith("tvqa")


def _link(fact: StudyFact, text: str) -> str:
    return f"[{text}]({fact.page})"


def _model(fact: StudyFact) -> str:
    return as_text(fact.record.model.id)


def _cell(measure: MeasureFact | None, alpha: float) -> str:
    if measure is None:
        return "–"
    shown = f"{measure.n_different} of {measure.n_heads}, {format_g(measure.size, sign=False)}"
    return shown if measure.p < alpha else f"{shown} (omnibus {p_phrase(measure.p)})"


def _founding_table(known: list[tuple[Founding, StudyFact]]) -> str:
    rows = [
        [
            _link(fact, founding.called),
            _model(fact),
            *(_cell(fact.measures.get(name), fact.record.options.alpha) for name in _MEASURES),
        ]
        for founding, fact in known
    ]
    return table(["material", "model", *_MEASURES.values()], rows, "llrrrr")


def _in_short(facts: AnswerFacts, known: list[tuple[Founding, StudyFact]]) -> str:
    """Answer in two or three sentences, each carried by the tests of the reports."""
    shown = [(founding, fact) for founding, fact in known if _is_shown(fact)]
    models = listed(list(dict.fromkeys(_model(fact) for _, fact in known)))
    if not shown:
        materials = listed([founding.called for founding, _ in known])
        return f"> In {models} no difference of the heads together was shown in {materials}."
    text = f"> In {models} they do in {listed([founding.called for founding, _ in shown])}"
    both = all(fact.own.more_a and fact.own.more_b for _, fact in shown)
    text += ", some heads one way and some the other." if both else "."
    alike = [founding.called for founding, fact in shown if _is_matched(fact)]
    if not alike:
        text += (
            " None of these holds length, frequency and word pieces alike, so that none is about concreteness alone."
        )
    elif len(alike) < len(shown):
        text += f" Of these, only {listed(alike)} hold length, frequency and word pieces alike."
    for record in _of_founding(facts).values():
        own = record.verdict.measures[0] if record.verdict else None
        if own is None or own.size is None or own.n_models < 2 or own.size_low is None or own.size_high is None:
            continue
        text += (
            f" Over {plural(own.n_models, 'model')} the size of the typical head is |*g*| = "
            f"{format_g(own.size, sign=False)} {format_interval(own.size_low, own.size_high)} in "
            f"{_called(record.study)}"
        )
        beyond = own.beyond_untrained_low
        text += (
            f", more than in {plural(own.n_untrained, 'untrained network')}."
            if beyond is not None and beyond > 0
            else "."
        )
    return text


def _called(study: str) -> str:
    return next((founding.called for founding in FOUNDING if founding.study == study), as_text(study))


def _is_shown(fact: StudyFact) -> bool:
    return fact.own.p < fact.record.options.alpha


def _whether(known: list[tuple[Founding, StudyFact]]) -> str:
    """Say in which materials the heads together differ, in the measure that each report is about."""
    shown = [
        f"{founding.called} ({call_measure(fact.own.measure)}, {p_phrase(fact.own.p)}; of the heads that differ "
        f"{fact.own.more_a} have more in {as_text(fact.record.contrast.a)} and {fact.own.more_b} in "
        f"{as_text(fact.record.contrast.b)})"
        for founding, fact in known
        if _is_shown(fact)
    ]
    not_shown = [
        f"{founding.called} ({call_measure(fact.own.measure)}, {p_phrase(fact.own.p)})"
        for founding, fact in known
        if not _is_shown(fact)
    ]
    text = f"**Together the heads differ** (omnibus test over all of them) in {listed(shown)}." if shown else ""
    if not_shown:
        text += f" No difference of the heads together was shown in {listed(not_shown)}."
    return text.strip()


def _comparison(facts: AnswerFacts, first: str, second: str) -> tuple[str, ComparisonRecord | None]:
    """Return folder and record of the comparison of two studies' reports of one model; none where there is none."""
    for name, record in facts.comparisons.items():
        same = record.relation == "same heads"
        if same and {one.study for one in record.comparison.values()} == {first, second}:
            return name, record
    return "", None


def _is_matched(fact: StudyFact) -> bool:
    """Whether length, frequency and word pieces are alike, by the balance of the run."""
    verdict = fact.record.verdict
    return verdict is not None and set(_MATCHED) <= set(verdict.alike)


def _matching(facts: AnswerFacts) -> str:
    """Say what matching leaves, and whether the same heads stand out."""
    matched = facts.studies.get("mt40k_matched")
    if matched is None or not _is_matched(matched):
        return ""
    own = matched.own
    text = (
        f"**Length, frequency and word pieces**: in pairs that are alike in them {_link(matched, 'the matched lists')} "
        f"have {own.n_different} of {own.n_heads} heads that differ ({call_measure(own.measure)})."
    )
    for other in ("mt40k_topbotk", "carrier_pairs"):
        name, record = _comparison(facts, other, "mt40k_matched")
        if record is None or record.verdict.r is None or record.verdict.p is None:
            continue
        r, p, p_within = record.verdict.r, record.verdict.p, record.verdict.p_within
        compared = {call_measure(one.measure) for one in record.comparison.values() if one.measure}
        numbers = f"{' and '.join(sorted(compared))}: " if compared else ""
        numbers += f"*r* = {format_r(r)}, permutation {p_phrase(p)}"
        if p_within is not None:
            numbers += f", within layers {p_phrase(p_within)}"
        shown = "agree in part" if r > 0 else "run against each other in part"
        found = shown if p < record.options.alpha else "were not shown to agree"
        maps = f"[maps of effects]({quote(name)}/report.md) of {_called(other)} and matched lists"
        text += f" The {maps} {found} ({numbers})."
    return text


def _keys_table(known: list[tuple[Founding, StudyFact]]) -> str:
    """Write what of the heads that differ over all keys is there over the words, and with the sink held."""
    rows = []
    for founding, fact in known:
        count, words = fact.measures.get("count"), fact.measures.get("count_words")
        if count is None or words is None or not count.n_different:
            continue
        held = "–" if fact.sink_held is None else f"{fact.sink_held[0]} of {fact.sink_held[1]}"
        lost = count.n_different - words.kept - words.turned
        about = call_measure(fact.own.measure)
        rows.append(
            [founding.called, *map(str, (count.n_different, words.kept, words.turned, lost)), f"{held} ({about})"]
        )
    if not rows:
        return ""
    header = [
        "material", "differ over all keys", "over the words alone: likewise", "the other way", "not shown",
        "left with the sink's mass held fixed",
    ]  # fmt: skip
    return table(header, rows, "lrrrrr")


def _tvqa(known: list[tuple[Founding, StudyFact]]) -> str:
    """Say which of TVQA's questions were read; empty where none were."""
    parts = []
    for founding, fact in known:
        notes = [note for note in fact.record.notes if "questions with" in note or "founding experiment" in note]
        if _is_tvqa(founding) and notes:
            parts.append(f"{_link(fact, founding.called)}: {'; '.join(map(as_text, notes))}")
    if not parts:
        return ""
    numbers_alone = any(_is_tvqa(founding) and not fact.page.endswith(".md") for founding, fact in known)
    kept = " Their reports quote the questions, so that their numbers alone are kept here." if numbers_alone else ""
    return f"**What was read of TVQA**. {'. '.join(parts)}.{kept}"


def _items(founding: Founding, fact: StudyFact) -> str:
    """Say over what the tests of a report generalize."""
    unit = as_text(fact.record.contrast.unit)
    if fact.items_alone is None:
        return ""
    return (
        f"**Over items and {founding.contexts}**, {founding.called}: over {unit}s, with the {founding.contexts} as "
        f"they are, {fact.items_alone} of {fact.own.n_heads} heads differ; over {unit}s and {founding.contexts} "
        f"together {fact.own.n_different} ({call_measure(fact.own.measure)})."
    )


def _packings(facts: AnswerFacts) -> str:
    """Say what sweeps found, and in how many packings words were read."""
    parts = []
    for founding in FOUNDING:
        fact = facts.studies.get(founding.study)
        packings = None if fact is None else fact.record.options.own.get("packings")
        if fact is not None and isinstance(packings, int) and packings > 1:
            parts.append(f"the words of {_link(fact, founding.called)} were read in {packings} random packings")
    names = {founding.study for founding in FOUNDING}
    for name, record in facts.sweeps.items():
        if record.study in names and record.verdict is not None:
            parts.append(f"[{as_text(record.study)}]({quote(name)}/report.md): {as_text(record.verdict.sentence)}")
    ended = [part if part.endswith(".") else f"{part}." for part in parts]
    return f"**Packings and settings**: {' '.join(ended)}" if ended else ""


def _of_founding(facts: AnswerFacts) -> dict[str, ManyModelsRecord]:
    names = {founding.study for founding in FOUNDING}
    return {name: record for name, record in facts.many.items() if record.study in names and record.verdict}


def _models(facts: AnswerFacts) -> list[str]:
    """Say what holds over models, and in networks that were never trained."""
    said = []
    for name, record in _of_founding(facts).items():
        verdict = record.verdict
        if verdict is None:
            continue
        own = verdict.measures[0]
        link = f"[{as_text(record.study)}]({quote(name)}/report.md)"
        said.append(f"**Models**, {link}: {verdict.sentence}")
        untrained = _untrained(own)
        if untrained:
            said.append(f"**Untrained networks**, {link}: {untrained}")
    return said


def _untrained(own: MeasureOverModels) -> str:
    if not own.n_untrained or own.untrained_size is None:
        return ""
    interval = (
        ""
        if own.untrained_low is None or own.untrained_high is None
        else f" {format_interval(own.untrained_low, own.untrained_high)}"
    )
    text = (
        f"in {plural(own.n_untrained, 'random initialisation')} of the first model's architecture the size of the "
        f"typical head is {format_g(own.untrained_size, sign=False)}{interval}"
    )
    low, high = own.beyond_untrained_low, own.beyond_untrained_high
    if low is None or high is None:
        return f"{text}; with one trained model no interval of the difference can be had."
    found = "more than that" if low > 0 else "less than that" if high < 0 else "not shown to be another"
    return f"{text}; that of the trained models is {found} (mean *g*² apart by {format_interval(low, high)})."


def _controls(facts: AnswerFacts) -> str:
    parts = []
    for name in _CONTROLS:
        fact = facts.studies.get(name)
        if fact is not None:
            own = fact.own
            parts.append(
                f"{_link(fact, as_text(name))} {own.n_different} of {own.n_heads} heads (omnibus {p_phrase(own.p)})"
            )
    return f"**Controls** (halves of one pool, and repeated words): {listed(parts)}." if parts else ""


def _undecided(facts: AnswerFacts, known: list[tuple[Founding, StudyFact]]) -> list[str]:
    found = []
    read = sorted({fact.record.model.id for _, fact in known})
    over = {name: record.verdict for name, record in _of_founding(facts).items()}
    n_draws = max((verdict.measures[0].n_models for verdict in over.values() if verdict), default=0)
    if n_draws < 2:
        found.append(
            f"Other models: only {listed([as_text(name) for name in read])} was read, and one checkpoint is one draw."
        )
    elif n_draws < 6:
        found.append(
            f"The population of models: {plural(n_draws, 'model')} give wide intervals, and no test over models by "
            "their signs."
        )
    ids = [*read, *(one.model.id for record in _of_founding(facts).values() for one in record.models)]
    lacking = [
        called
        for called, part in (("ALBERT", "albert"), ("BERT as the founding experiment had it", "bert-base-uncased"))
        if not any(name.rpartition("/")[2].startswith(part) for name in ids)
    ]
    if lacking:
        have = "has" if len(lacking) == 1 else "have"
        found.append(f"The founding experiment's own models: {listed(lacking)} {have} not been read here.")
    if not any(verdict and verdict.measures[0].n_untrained for verdict in over.values()):
        found.append("Whether an untrained network shows the same.")
    if not any(_is_tvqa(founding) for founding, _ in known):
        found.append("TVQA's questions: its files are not redistributed, and no report of them is here.")
    _, record = _comparison(facts, "mt40k_matched", "carrier_pairs")
    if record is not None and record.verdict.p is not None and record.verdict.p >= record.options.alpha:
        found.append(
            "Whether the same heads differ in lists and in sentences: no agreement of their maps was shown "
            f"(permutation {p_phrase(record.verdict.p)}), which does not show that they are others."
        )
    undecided = [
        f"{fact.record.verdict.undecided} of {fact.own.n_heads} in {founding.called}"
        for founding, fact in known
        if fact.record.verdict and fact.record.verdict.undecided
    ]
    if undecided:
        found.append(f"Heads that are neither shown to differ nor shown to be alike: {listed(undecided)}.")
    found += [
        f"Sentences other than those read: the tests of {founding.called} take them as they are."
        for founding, fact in known
        if founding.study == "carrier_pairs" and fact.items_alone is None
    ]
    return found


def _commands() -> str:
    """Write the commands of the founding experiment for those with a hub, and what TVQA's studies need."""
    tvqa = ("--tvqa", "data/tvqa_train.jsonl", "data/tvqa_val.jsonl")
    founding = ("--k", "3000", "--max-length", "20")
    commands = [
        typed("mt40k_topbotk", "--model", "albert-base-v2", *founding, "--out", "reports_albert"),
        typed("tvqa_answers", "--model", "bert-base-uncased", *tvqa, "--out", "reports_bert"),
        typed("tvqa_pools", "--model", "bert-base-uncased", *tvqa, "--out", "reports_bert"),
        typed("models", "mt40k_matched", "--model", "bert-base-uncased", "albert-base-v2", "--siblings", "5"),
    ]
    lines = "\n".join(commands)
    return (
        "**As the founding experiment had it**: ALBERT on the 3,000 most and least concrete words in sequences of 20 "
        "tokens, and BERT on TVQA's questions, for those with a hub:\n\n"
        f"```sh\n{lines}\n```\n\n"
        "The two studies of TVQA need its question files `tvqa_train.jsonl` and `tvqa_val.jsonl` (122,039 and 15,253 "
        "questions, with `answer_idx`; from <https://github.com/jayleicn/TVQA>), of which correct answers that are an "
        "entry of the norms, rated above .95 or below .3 on 0 to 1, are taken: 2,530 and 613 in the founding "
        "experiment."
    )
