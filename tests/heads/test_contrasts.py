import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.heads.contrasts import contrasts_of
from metastable.study import Claim, Condition, Design, Factor, Material, Sequence, Study

A, B = Condition("concrete", "a"), Condition("abstract", "b")
POOL = Factor("pool", (Condition("easy", "e"), Condition("hard", "h")))


def study(**changes):
    values = {
        "name": "s", "title": "T", "question": "Q?", "conditions": (A, B), "build": lambda o, t: Material(()), **changes
    }  # fmt: skip
    return Study(**values)


def sequence(number, condition, **fields):
    fields.setdefault("covariates", {"zipf": float(number)})
    return Sequence(
        identifier=f"s{number}", condition=condition, words=("w",), text="w", token_ids=(1, 2, 3),
        word_index=(-1, 0, -1), **fields,
    )  # fmt: skip


def test_sequences_are_their_own_units_by_default():
    sequences = tuple(sequence(i, ("concrete", "abstract")[i % 2]) for i in range(6))
    (contrast,) = contrasts_of(study(), sequences)
    means = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_array_equal(contrast.values(means), means)
    assert contrast.condition.tolist() == [True, False] * 3
    assert contrast.covariates["zipf"].tolist() == [0, 1, 2, 3, 4, 5]
    assert contrast.unit == "sequence"


def test_clusters_average_their_sequences():
    clusters = ["x", "x", "y", "z", "z", "z", "u"]
    conditions = ["concrete"] * 3 + ["abstract"] * 4
    sequences = tuple(
        sequence(i, condition, cluster=cluster)
        for i, (condition, cluster) in enumerate(zip(conditions, clusters, strict=True))
    )
    (contrast,) = contrasts_of(study(design=Design(clustered=True)), sequences)
    means = np.arange(7.0)[:, None]
    np.testing.assert_allclose(contrast.values(means)[:, 0], [0.5, 2, 4, 6])
    assert contrast.condition.tolist() == [True, True, False, False]
    np.testing.assert_allclose(contrast.covariates["zipf"], [0.5, 2, 4, 6])
    assert contrast.crossed.tolist() == [0, 0, 1, 2, 2, 2, 3]


def test_clips_are_crossed_with_answers_where_they_repeat():
    clusters, clips = ["x", "x", "y", "z", "z", "u"], ["1", "2", "2", "1", "3", "4"]
    conditions = ["concrete"] * 3 + ["abstract"] * 3
    design = Design(clustered=True, unit="answer", context="clip")

    def contrast(contexts):
        rows = zip(conditions, clusters, contexts, strict=True)
        sequences = tuple(sequence(i, c, cluster=cluster, context=clip) for i, (c, cluster, clip) in enumerate(rows))
        return contrasts_of(study(design=design), sequences)[0]

    found = contrast(clips)
    assert found.repeated.tolist() == [0, 0, 1, 2, 2, 3]
    assert found.crossed.tolist() == [0, 1, 1, 0, 2, 3]
    assert found.mixed_formula("count") == "mean count ~ condition + (1 | answer) + (1 | clip)"
    # a clip a question says nothing beside the question, nor a clip an answer beside the answer
    for contexts in (list("abcdef"), list("aabccd")):
        found = contrast(contexts)
        assert found.repeated is None
        assert found.mixed_formula("count") == "count ~ condition + (1 | sequence) + (1 | answer)"


def test_clips_of_answers_that_stand_once_are_crossed_with_the_tokens_sequences():
    rows = [{"cluster": f"c{i}", "context": f"x{i // 2 % 2}"} for i in range(6)]
    sequences = tuple(sequence(i, ("concrete", "abstract")[i % 2], **row) for i, row in enumerate(rows))
    (contrast,) = contrasts_of(study(design=Design(clustered=True, unit="answer", context="clip")), sequences)
    assert contrast.repeated is None
    assert contrast.crossed.tolist() == [0, 0, 1, 1, 0, 0]
    assert contrast.mixed_formula("count") == "count ~ condition + (1 | sequence) + (1 | clip)"


@pytest.mark.parametrize(
    ("design", "field"),
    [
        (Design(paired=True, unit="word pair"), "pair"),
        (Design(clustered=True, unit="answer"), "cluster"),
        (Design(), ""),
    ],
)
def test_items_and_contexts_are_what_tests_are_over(design, field):
    rows = [(i % 2, i // 2 % 4, i // 8) for i in range(24)]
    sequences = tuple(
        sequence(
            i,
            ("concrete", "abstract")[side],
            context=f"x{context}",
            **({field: f"{side if field == 'cluster' else ''}i{item}"} if field else {}),
        )
        for i, (side, item, context) in enumerate(rows)
    )
    (contrast,) = contrasts_of(study(design=design), sequences)
    crossing = contrast.crossing
    assert crossing.context.tolist() == [context for _, _, context in rows]
    assert crossing.condition.tolist() == [side == 0 for side, _, _ in rows]
    expected = {"pair": 4, "cluster": 8, "": 24}[field]
    assert (crossing.n_items, crossing.n_contexts) == (expected, 3)
    assert crossing.item_name == {"pair": "word pair", "cluster": "answer", "": "sequence"}[field]


def test_one_context_or_one_for_each_item_is_nothing_to_generalize_over():
    for context in (lambda i: "same", lambda i: f"x{i // 2}", lambda i: f"x{i}", lambda i: f"x{i % 2}"):
        sequences = tuple(
            sequence(i, ("concrete", "abstract")[i % 2], pair=f"p{i // 2}", context=context(i)) for i in range(12)
        )
        (contrast,) = contrasts_of(study(design=Design(paired=True)), sequences)
        # the last has one context in each condition
        assert contrast.crossing is None


@pytest.mark.parametrize("field", ["cluster", "context"])
def test_a_cluster_or_clip_for_each_sequence_is_no_second_factor(field):
    sequences = tuple(sequence(i, ("concrete", "abstract")[i % 2], **{field: f"x{i}"}) for i in range(6))
    (contrast,) = contrasts_of(study(design=Design(clustered=field == "cluster")), sequences)
    assert contrast.crossed is None
    assert contrast.mixed_formula("count") == "count ~ condition + (1 | sequence)"


def test_pairs_average_what_shares_pair_and_condition():
    pairs, conditions = list("ppppqq"), ["concrete", "abstract", "concrete", "abstract", "abstract", "concrete"]
    sequences = tuple(
        sequence(i, condition, pair=pair) for i, (condition, pair) in enumerate(zip(conditions, pairs, strict=True))
    )
    (contrast,) = contrasts_of(study(design=Design(paired=True)), sequences)
    values = contrast.values(np.arange(6.0)[:, None])[:, 0]
    assert values[contrast.condition].tolist() == [1, 5]
    assert values[~contrast.condition].tolist() == [2, 4]
    assert contrast.pair[contrast.condition].tolist() == contrast.pair[~contrast.condition].tolist()


@given(st.lists(st.floats(-5, 5), min_size=16, max_size=16))
def test_the_factorial_contrasts_are_those_of_the_cell_means(numbers):
    cells = [(unit, unit < 2, level) for unit in range(4) for level in (0, 1)] * 2
    sequences = tuple(
        sequence(i, A.name if in_a else B.name, pair=f"q{unit}", level=POOL.levels[level].name)
        for i, (unit, in_a, level) in enumerate(cells)
    )
    means = np.array(numbers)[:, None]
    found = {c.name: c for c in contrasts_of(study(design=Design(factor=POOL)), sequences)}
    table = np.zeros((4, 2))
    for (unit, _, level), value in zip(cells, numbers, strict=True):
        table[unit, level] += value / 2
    main, pool, interaction = found["condition"], found["pool"], found["interaction"]
    np.testing.assert_allclose(main.values(means)[:, 0], table.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(interaction.values(means)[:, 0], table[:, 0] - table[:, 1], atol=1e-12)
    np.testing.assert_allclose(pool.values(means)[pool.condition, 0], table[:, 0], atol=1e-12)
    # the fixed effects of the mixed model estimate the same three numbers
    for contrast in found.values():
        coefficient = np.linalg.lstsq(contrast.design, means[:, 0], rcond=None)[0][1]
        values = contrast.values(means)[:, 0]
        expected = values[contrast.condition].mean() - values[~contrast.condition].mean()
        np.testing.assert_allclose(coefficient, expected, atol=1e-9)


def test_the_first_claim_names_the_primary_contrast():
    sequences = tuple(
        sequence(i, A.name if unit < 2 else B.name, pair=f"q{unit}", level=POOL.levels[level].name)
        for i, (unit, level) in enumerate((u, v) for u in range(4) for v in (0, 1))
    )
    described = study(design=Design(factor=POOL), claims=(Claim(contrast="pool"),))
    assert [c.name for c in contrasts_of(described, sequences)] == ["pool", "interaction", "condition"]


@pytest.mark.parametrize(
    ("design", "fields", "complaint"),
    [
        (Design(), [{}, {}, {}], "abstract has 1 sequence; a test needs at least two"),
        (Design(clustered=True), [{"cluster": "x"}, {"cluster": None}, {"cluster": "x"}], "has no cluster"),
        (Design(clustered=True), [{"cluster": "x"}, {"cluster": "y"}, {"cluster": "x"}], "'x' has sequences in both"),
        (Design(paired=True), [{"pair": "p"}, {"pair": "q"}, {"pair": "p"}], "pair 'q' has sequences in concrete only"),
        (
            Design(factor=POOL),
            [{"pair": "p", "level": "easy"}, {"pair": "p", "level": "hard"}, {"pair": "q", "level": "easy"}],
            "'q' lacks a level of pool",
        ),
    ],
)
def test_designs_that_lack_something_are_refused(design, fields, complaint):
    conditions = ["concrete", "concrete", "abstract"]
    sequences = tuple(
        sequence(i, condition, **field) for i, (condition, field) in enumerate(zip(conditions, fields, strict=True))
    )
    with pytest.raises(InputError, match=complaint):
        contrasts_of(study(design=design), sequences)
