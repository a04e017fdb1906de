"""Row options and summaries against sums written out row by row."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.extraction.summarizing import (
    check_row_options,
    check_sites,
    keep_word_keys,
    sum_word_mass,
    summarize_rows,
)
from metastable.measures import COUNT, MEASURES, SHARE, SPANS, TARGETS
from metastable.measures.table import effective_number, row_entropy
from metastable.models.encoders import wrap_model
from metastable.models.sites import Site
from tests.extraction.oracle import count_row, plain_attention, text_sequences
from tests.extraction.tiny_models import tiny_model

LENGTHS = [4, 11, 7, 3, 9]
THRESHOLDS = (0.5, 0.9)
OF_EVERY_ROW = tuple(
    one.name
    for one in MEASURES
    if one is not COUNT
    and not {TARGETS, SPANS} & set(one.needs)
    and one.needs_of_model == ()
    and not one.whole
    and one is not SHARE
)


def _expected_row(row: np.ndarray, words: tuple[int, ...], keys: str, unit: str) -> list[float]:
    """Apply the options to one row with a dictionary and a loop."""
    mass: dict[object, float] = {}
    for position, (p, word) in enumerate(zip(row, words, strict=True)):
        if keys == "words" and word < 0:
            continue
        name = ("word", word) if unit == "words" and word >= 0 else ("token", position)
        mass[name] = mass.get(name, 0.0) + float(p)
    total = sum(mass.values())
    return [p / total for p in mass.values()] if total > 0 else []


@pytest.mark.parametrize("queries", ["all", "words", "special"])
@pytest.mark.parametrize("keys", ["all", "words"])
@pytest.mark.parametrize("unit", ["tokens", "words"])
def test_every_option_counts_what_it_says(queries: str, keys: str, unit: str, tmp_path: Path) -> None:
    model = tiny_model("bert")
    sequences = text_sequences(LENGTHS)
    cube = extract(
        wrap_model(model),
        sequences,
        thresholds=THRESHOLDS,
        path=tmp_path / "counts.zarr",
        batch_tokens=30,
        queries=queries,
        keys=keys,
        unit=unit,
        measures=("count", *OF_EVERY_ROW),
    ).dataset.load()
    for index, sequence in enumerate(sequences):
        plain = plain_attention(model, sequence, {})["self"]
        asked = [queries == "all" or (queries == "words") == (word >= 0) for word in sequence.word_index] + [False] * (
            cube.sizes["token"] - len(sequence.token_ids)
        )
        counts = cube["count"][index, 0].to_numpy()
        np.testing.assert_array_equal((counts > 0).all(axis=(0, 1, 2)), asked)
        np.testing.assert_array_equal((counts > 0).any(axis=(0, 1, 2)), asked)
        for layer, heads in enumerate(plain):
            for head, query in np.ndindex(heads.shape[:2]):
                if not asked[query]:
                    continue
                row = _expected_row(heads[head, query], sequence.word_index, keys, unit)
                for k, threshold in enumerate(THRESHOLDS):
                    expected, near = count_row(np.array(row), threshold)
                    assert near or counts[layer, head, k, query] == expected
                entropy = -sum(p * math.log(p) for p in row if p > 0)
                special = sum(p for p, word in zip(heads[head, query], sequence.word_index, strict=True) if word < 0)
                oracle = {
                    "entropy": entropy,
                    "effective_number": math.exp(entropy),
                    "largest_weight": max(row),
                    "special_mass": special,
                    "first_mass": heads[head, query, 0],
                    "self_mass": heads[head, query, query],
                }
                assert set(oracle) == set(OF_EVERY_ROW), "a measure lacks its oracle"
                for name, value in oracle.items():
                    got = float(cube[name][index, 0, layer, head, query])
                    assert got == pytest.approx(value, abs=2e-5, rel=2e-5), name
        for name in OF_EVERY_ROW:
            values = cube[name][index, 0].to_numpy()
            np.testing.assert_array_equal(~np.isnan(values).any(axis=(0, 1)), asked)
            np.testing.assert_allclose(
                cube[f"mean_{name}"][index, 0],
                np.nanmean(values.astype(np.float64), axis=-1),
                rtol=1e-9,
            )


def test_the_mass_between_spans_is_that_from_either_to_the_other(tmp_path: Path) -> None:
    model = tiny_model("bert")
    sequences = []
    for one in text_sequences(LENGTHS):
        words = sorted({word for word in one.word_index if word >= 0})
        if len(words) < 2:
            continue
        sequences.append(replace(one, target=(words[0], words[-1]), target_b=(words[-1],)))
    cube = extract(
        wrap_model(model),
        sequences,
        thresholds=THRESHOLDS,
        path=tmp_path / "counts.zarr",
        batch_tokens=30,
        measures=("count", "span_mass"),
    ).dataset.load()
    for index, sequence in enumerate(sequences):
        spans = np.array(sequence.target_spans)
        assert {1, 2} <= set(spans)
        plain = plain_attention(model, sequence, {})["self"]
        for layer, heads in enumerate(plain):
            for head, query in np.ndindex(heads.shape[:2]):
                got = float(cube["span_mass"][index, 0, layer, head, query])
                if spans[query] == 0:
                    assert math.isnan(got)
                else:
                    other = spans == 3 - spans[query]
                    assert got == pytest.approx(float(heads[head, query][other].sum()), abs=2e-5)


def test_the_decoder_reads_each_word_one_step_later(tmp_path: Path) -> None:
    sequences = text_sequences(LENGTHS)
    cube = extract(wrap_model(tiny_model("bart")), sequences, path=tmp_path / "counts.zarr", queries="words").dataset
    for index, sequence in enumerate(sequences):
        words = np.zeros(cube.sizes["token"], dtype=bool)
        words[: len(sequence.token_ids)] = np.array(sequence.word_index) >= 0
        for site, expected in (("encoder", words), ("decoder", np.roll(words, 1)), ("cross", np.roll(words, 1))):
            asked = (cube["count"].sel(site=site)[index, 0, 0, 0] > 0).to_numpy()
            np.testing.assert_array_equal(asked, expected)


def test_a_token_of_a_cross_site_has_no_mass_on_itself(tmp_path: Path) -> None:
    cube = extract(
        wrap_model(tiny_model("t5")), text_sequences(LENGTHS), path=tmp_path / "counts.zarr", measures=["self_mass"]
    ).dataset
    missing = {
        site: bool(np.isnan(cube["mean_self_mass"].sel(site=site, layer=1)).all()) for site in ("encoder", "cross")
    }
    assert missing == {"encoder": False, "cross": True}


@pytest.mark.parametrize("keys", ["all", "words"])
@pytest.mark.parametrize("unit", ["tokens", "words"])
def test_the_target_receives_mass_from_the_other_tokens(keys: str, unit: str, tmp_path: Path) -> None:
    model = tiny_model("bert")
    sequences = [replace(s, target=(len(s.words) - 1,)) for s in text_sequences(LENGTHS)]
    cube = extract(
        wrap_model(model), sequences, path=tmp_path / "c.zarr", keys=keys, unit=unit, measures=["target_mass"]
    ).dataset
    # float32 products differ with the batch and the processor
    for index, sequence in enumerate(sequences):
        heads = plain_attention(model, sequence, {})["self"]
        hit = np.array([word == len(sequence.words) - 1 for word in sequence.word_index])
        expected = np.stack(heads)[..., hit].sum(axis=-1)
        expected[..., hit] = np.nan
        got = cube["target_mass"][index, 0].to_numpy()
        np.testing.assert_allclose(got[..., : len(hit)], expected, atol=1e-5)
        assert np.isnan(got[..., len(hit) :]).all()
        np.testing.assert_allclose(cube["mean_target_mass"][index, 0], np.nanmean(expected, axis=-1), atol=1e-5)


def test_the_decoder_reads_the_target_one_step_later_and_the_cross_site_where_it_stands(tmp_path: Path) -> None:
    sequences = [replace(s, target=(0,)) for s in text_sequences(LENGTHS)]
    cube = extract(
        wrap_model(tiny_model("bart")), sequences, path=tmp_path / "c.zarr", measures=["target_mass"]
    ).dataset
    for index, sequence in enumerate(sequences):
        hit = np.zeros(cube.sizes["token"], dtype=bool)
        hit[: len(sequence.token_ids)] = np.array(sequence.word_index) == 0
        beyond = np.arange(len(hit)) >= len(sequence.token_ids)
        for site, at in (("encoder", hit), ("decoder", np.roll(hit, 1)), ("cross", np.roll(hit, 1))):
            missing = np.isnan(cube["target_mass"].sel(site=site)[index, 0, 0].to_numpy())
            np.testing.assert_array_equal(missing, at | beyond)


def test_the_mass_of_a_target_depends_on_the_target(tmp_path: Path) -> None:
    encoder, sequences = wrap_model(tiny_model("bert")), text_sequences([9, 8])
    first, last = ([replace(s, target=(t,)) for s in sequences] for t in (0, 1))
    keys = [
        extract(encoder, chosen, path=tmp_path / "c.zarr", measures=measures).key
        for measures in ([], ["target_mass"])
        for chosen in (first, last)
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_sequence_without_target_has_no_target_mass(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'s0' has no target word"):
        extract(wrap_model(tiny_model("bert")), text_sequences([5]), path=tmp_path / "c", measures=["target_mass"])


def test_without_special_tokens_there_is_no_special_mass(tmp_path: Path) -> None:
    sequence = replace(text_sequences([4])[0], word_index=(0, 0, 1, 2))
    message = "the measure special_mass needs a special token, and sequence 's0' has no special token; choose another"
    with pytest.raises(InputError, match=message):
        extract(wrap_model(tiny_model("gpt2")), [sequence], path=tmp_path / "c", measures=["special_mass"])
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("measure", [one.name for one in MEASURES])
def test_a_measure_is_compared_only_where_it_has_values(measure: str) -> None:
    sites = (Site("encoder", 1, 1), Site("cross", 1, 1, "decoder", "text"), Site("seeing", 1, 1, "text", "vision"))
    refused = {"self_mass": "cross", "target_mass": "seeing", "span_mass": "seeing"}
    if measure not in refused:
        return check_sites([measure], sites)
    with pytest.raises(InputError, match=f"{measure} has no value at site '{refused[measure]}'"):
        check_sites([measure], sites)
    return check_sites([measure], sites[:1])


def test_a_first_query_that_sees_no_word_is_not_asked(tmp_path: Path) -> None:
    cube = extract(
        wrap_model(tiny_model("gpt2")), text_sequences([6, 5]), path=tmp_path / "counts.zarr", keys="words"
    ).dataset
    counts = cube["count"][0, 0, 0, 0, 0].to_numpy()
    assert counts[0] == 0
    assert (counts[1:] > 0).all()
    expected = counts[1:].mean()
    assert float(cube["mean_count"][0, 0, 0, 0, 0]) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300))
def test_a_uniform_row_of_n_has_n_effective_entries(n: int) -> None:
    row = torch.full((1, 1, 1, n), 1.0 / n)
    assert float(row_entropy(row)) == pytest.approx(math.log(n), rel=1e-5, abs=1e-6)
    assert float(effective_number(row)) == pytest.approx(n, rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_summing_words_keeps_the_mass(words: list[int], seed: int) -> None:
    weights = torch.softmax(torch.randn(1, 2, 3, len(words), generator=torch.Generator().manual_seed(seed)), -1)
    index = torch.tensor([words])
    summed = sum_word_mass(weights, index)
    torch.testing.assert_close(summed.sum(-1), torch.ones(1, 2, 3))
    for word in set(words) - {-1}:
        expected = weights[..., [w == word for w in words]].sum(-1)
        torch.testing.assert_close(summed[..., word], expected)
    kept = keep_word_keys(weights, index)
    assert float(kept[..., index[0] < 0].sum()) == 0.0
    expected_total = torch.full((1, 2, 3), 1.0 if max(words) >= 0 else 0.0)
    torch.testing.assert_close(kept.sum(-1), expected_total)


def test_a_peaked_row_has_no_entropy() -> None:
    row = torch.tensor([[[[0.0, 1.0, 0.0]]]])
    assert float(row_entropy(row)) == 0.0
    words = {"text": torch.tensor([[-1, 0, -1]])}
    asked = torch.ones(1, 1, dtype=torch.bool)
    options = check_row_options(measures=("largest_weight", "special_mass"))
    summary = summarize_rows(row, [0.9], Site("self", 1, 1), asked, words, options)
    assert {name: float(value.squeeze()) for name, value in summary.items()} == {
        "count": 1,
        "largest_weight": 1.0,
        "special_mass": 0.0,
    }


def test_queries_that_are_no_text_pay_targets_and_have_no_span() -> None:
    weights = torch.softmax(torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0)), -1)
    words, targets = {"text": torch.tensor([[-1, 0, 1, 1]])}, {"text": torch.tensor([[0, 1, 2, 2]])}
    asked, options = torch.ones(1, 3, dtype=torch.bool), check_row_options(measures=("target_mass", "span_mass"))
    looking = summarize_rows(weights, [0.9], Site("looks", 1, 2, "vision", "text"), asked, words, options, targets)
    torch.testing.assert_close(looking["target_mass"], weights[..., 1:].sum(-1))
    assert looking["span_mass"].isnan().all()
    seen = summarize_rows(weights, [0.9], Site("seen", 1, 2, "text", "vision"), asked, {}, options, targets)
    assert seen["target_mass"].isnan().all()
    assert seen["span_mass"].isnan().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": "verbs"}, "queries 'verbs' is unknown; choose one of all, words, special"),
        ({"keys": "special"}, "keys 'special' is unknown"),
        ({"unit": "letters"}, "unit 'letters' is unknown"),
        ({"measures": ("count", "kurtosis")}, "measure 'kurtosis' is unknown"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_row_options(**options)  # type: ignore[arg-type]


def test_queries_that_no_token_can_make_are_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    encoder = wrap_model(tiny_model("gpt2"))
    sequence = replace(text_sequences([4])[0], word_index=(0, 0, 0, 0))
    with pytest.raises(InputError, match="no special token"):
        extract(encoder, [sequence], path=tmp_path / "counts.zarr", queries="special")
    sequence = replace(sequence, word_index=(-1,) * 4)
    with pytest.raises(InputError, match="no token of a word"):
        extract(encoder, [sequence], path=tmp_path / "counts.zarr", keys="words")
