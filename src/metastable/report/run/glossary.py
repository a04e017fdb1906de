"""The words of a report that not every reader knows, explained where they are used."""

from __future__ import annotations

from metastable.report.apa import with_article
from metastable.report.run.scene import Scene
from metastable.report.sections import bullets

__all__ = ["glossary"]


def _words(scene: Scene) -> dict[str, str]:
    effect, margin = scene.effect, f"{scene.margin:g}"
    return {
        "Omnibus test": "one test of all heads (or of a layer's) at once: does any of them have an effect? It does not "
        "say which.",
        **_chance(scene),
        "FDR, FWER": "the false discovery rate is the expected share of false calls among the heads that are called; "
        "the family-wise error rate is the probability of even one false call.",
        effect.size_name: f"the {effect.name} in standard deviations, so that heads of any size of the measure "
        "compare.",
        "95% CI": "an interval from a procedure that covers the true value in 95% of samples.",
        "Equivalent": f"shown to be smaller than *{effect.symbol}* = ±{margin}, by two one-sided tests; *undecided* "
        "means that neither was shown, and is no evidence of absence.",
        "Bayes factor": f"how many times likelier the data are if there is {with_article(effect.name)} than if "
        "there is none; below 1 they speak against it.",
        "Layers first": "heads are only looked at in layers whose own omnibus test found something.",
    }


def _chance(scene: Scene) -> dict[str, str]:
    crossing = scene.contrast.crossing
    if crossing is None or not scene.analysis.over_contexts:
        return {
            "Permutation p": "how often the statistic comes out as large when the labels that are tested are dealt out "
            "anew by chance."
        }
    item, context = crossing.item_name, crossing.context_name
    return {
        "P of rotations": f"how often the statistic comes out as large when the effects of {item}s and of {context}s "
        "are turned at random, as if their mean were zero."
    }


def glossary(scene: Scene) -> str:
    """Return the words, folded away."""
    lines = bullets([f"**{word}**: {meaning}" for word, meaning in _words(scene).items()])
    return f"<details>\n<summary>Omnibus, FDR, equivalent and other words</summary>\n\n{lines}\n</details>"
