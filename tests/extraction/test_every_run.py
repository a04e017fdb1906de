"""What every run takes of a row, against plain transformers in a batch of one with hooks on the value projections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.extraction.fused import Measuring
from metastable.extraction.keys import extraction_key
from metastable.extraction.summarizing import check_row_options, measures_of_run, summarize_rows
from metastable.measures import MEASURES
from metastable.models.encoders import load_encoder, wrap_model
from metastable.models.sites import Site
from metastable.study import Sequence
from tests.extraction.oracle import count_row, plain_attention, text_sequences
from tests.extraction.tiny_models import tiny_model

LENGTHS = [4, 11, 7, 3, 9]
THRESHOLDS = (0.9, 0.5)
OF_EVERY_RUN = ("count", "count_contributions", "count_words", "share", "special_mass", "first_mass")
PROJECTIONS = {"bert": "attention.self.value", "gpt2": "attn.c_attn", "llama": "self_attn.v_proj"}


def plain_values(model: Any, sequence: Sequence, projection: str) -> list[NDArray[np.float64]]:
    """Values of each layer by a hook on its projection, (key heads, keys, size)."""
    found: list[torch.Tensor] = []
    config = model.config
    modules = [module for name, module in model.named_modules() if name.endswith(projection)]
    handles = [
        module.register_forward_hook(lambda _module, _inputs, output: found.append(output)) for module in modules
    ]
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([sequence.token_ids]))
    finally:
        for handle in handles:
            handle.remove()
    n_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    # GPT-2 projects queries, keys and values at once
    parts = [output.chunk(3, dim=-1)[-1] if projection.endswith("c_attn") else output for output in found]
    return [part[0].unflatten(-1, (n_heads, -1)).transpose(0, 1).double().numpy() for part in parts]


def assert_measured(cube: xr.Dataset, index: int, model: Any, sequence: Sequence, projection: str) -> None:
    """Compare every row of one sequence with its definition."""
    words = np.array(sequence.word_index) >= 0
    values = plain_values(model, sequence, projection)
    causal = projection != PROJECTIONS["bert"]
    counted = {"count", "count_contributions", "count_words"}
    for layer, heads in enumerate(plain_attention(model, sequence, {})["self"]):
        lengths = np.linalg.norm(values[layer], axis=-1)
        lengths = np.repeat(lengths, len(heads) // len(lengths), axis=0)
        got = {name: cube[name][index, 0, layer].to_numpy() for name in OF_EVERY_RUN}
        for head, query in np.ndindex(heads.shape[:2]):
            row = heads[head, query]
            n_visible = query + 1 if causal else len(row)
            rows = {"count": row, "count_contributions": row * lengths[head], "count_words": row * words}
            for place, threshold in enumerate(THRESHOLDS):
                for name in counted:
                    expected, near = count_row(rows[name], threshold) if rows[name].any() else (0, False)
                    assert near or got[name][head, place, query] == expected, (name, layer, head, query)
                share = got["count"][head, place, query] / n_visible
                assert got["share"][head, place, query] == pytest.approx(share, rel=1e-6)
            assert got["special_mass"][head, query] == pytest.approx(row[~words].sum(), abs=2e-5)
            assert got["first_mass"][head, query] == pytest.approx(row[0], abs=2e-5)


@pytest.mark.parametrize("way", ["while attending", "of the weights"])
@pytest.mark.parametrize("name", PROJECTIONS)
def test_every_run_measures_what_plain_attention_and_values_give(
    name: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sequences = tiny_model(name), text_sequences(LENGTHS)
    attended = []
    attend = Measuring.attend
    monkeypatch.setattr(Measuring, "attend", lambda *given: attended.append(1) or attend(*given))
    extraction = extract(
        wrap_model(model),
        sequences,
        thresholds=THRESHOLDS,
        path=tmp_path / "c.zarr",
        batch_tokens=30,
        measures=["count"] if way == "while attending" else ["entropy"],
        of_every_run=True,
    )
    assert bool(attended) == (way == "while attending")
    assert extraction.left_out == {}
    cube = extraction.dataset.load()
    for index, sequence in enumerate(sequences):
        assert_measured(cube, index, model, sequence, PROJECTIONS[name])
        n_tokens = len(sequence.token_ids)
        for measure in ("share", "special_mass", "first_mass"):
            assert np.isnan(cube[measure][index, ..., n_tokens:]).all()


def test_the_means_are_over_the_rows_that_have_the_measure(tmp_path: Path) -> None:
    """The first query of a causal model sees no word."""
    cube = extract(
        wrap_model(tiny_model("gpt2")), text_sequences(LENGTHS), path=tmp_path / "c.zarr", of_every_run=True
    ).dataset.load()
    for name in ("count_words", "count_contributions"):
        values = cube[name].to_numpy().astype(float)
        values[values == 0] = np.nan
        np.testing.assert_allclose(cube[f"mean_{name}"], np.nanmean(values, axis=-1), rtol=1e-12)
    assert (cube["count_words"][..., 0] == 0).all()
    np.testing.assert_allclose(
        cube["mean_share"], np.nanmean(cube["share"].to_numpy().astype(float), axis=-1), rtol=1e-6
    )


def test_the_bundled_encoder_is_measured_as_plain_attention_gives_it(tmp_path: Path) -> None:
    encoder = load_encoder(device="cpu")
    assert encoder.tokenizer is not None
    sequences = []
    for number, text in enumerate(["the river bank was flooded", "justice demands unwavering impartiality"]):
        encoded = encoder.tokenizer.encode(text)
        sequences.append(Sequence(f"s{number}", "a", tuple(text.split()), text, encoded.token_ids, encoded.word_index))
    cube = extract(
        encoder, sequences, thresholds=THRESHOLDS, path=tmp_path / "c.zarr", of_every_run=True
    ).dataset.load()
    for index, sequence in enumerate(sequences):
        assert_measured(cube, index, encoder.model, sequence, PROJECTIONS["bert"])


def test_the_share_of_a_short_text_is_that_of_its_own_keys(tmp_path: Path) -> None:
    """A batch of mixed lengths divides each count by the keys of its own text."""
    sequences = text_sequences([4, 40])
    cube = extract(
        wrap_model(tiny_model("bert")), sequences, path=tmp_path / "c.zarr", measures=["share"], batch_tokens=200
    ).dataset.load()
    np.testing.assert_allclose(cube["share"][0, ..., :4] * 4, cube["count"][0, ..., :4], rtol=1e-6)
    np.testing.assert_allclose(cube["share"][1] * 40, cube["count"][1], rtol=1e-6)


@pytest.mark.parametrize("keys", ["all", "words"])
@pytest.mark.parametrize("unit", ["tokens", "words"])
def test_the_share_is_of_the_units_that_count(keys: str, unit: str, tmp_path: Path) -> None:
    (sequence,) = text_sequences([12])
    cube = extract(
        wrap_model(tiny_model("bert")), [sequence], path=tmp_path / "c.zarr", measures=["share"], keys=keys, unit=unit
    ).dataset.load()
    of_words = [word for word in sequence.word_index if word >= 0]
    n_units = len(set(of_words)) if unit == "words" else len(of_words)
    n_units += 0 if keys == "words" else 2
    np.testing.assert_allclose(cube["share"] * n_units, cube["count"], rtol=1e-6)


def test_without_special_tokens_the_measures_of_them_are_left_out_and_refused_by_name(tmp_path: Path) -> None:
    sequence = replace(text_sequences([4])[0], word_index=(0, 0, 1, 2))
    encoder = wrap_model(tiny_model("gpt2"))
    extraction = extract(encoder, [sequence], path=tmp_path / "c.zarr", of_every_run=True)
    reason = "needs a special token, and sequence 's0' has no special token"
    assert extraction.left_out == {"count_words": reason, "special_mass": reason}
    assert set(extraction.options.measures) == {"count_contributions", "share", "first_mass"}
    assert not {"count_words", "special_mass", "sink_mass"} & set(map(str, extraction.dataset.data_vars))
    with pytest.raises(InputError, match="the measure count_words needs a special token, and sequence 's0' has no"):
        extract(encoder, [sequence], path=tmp_path / "d.zarr", measures=["count_words"])


def test_where_values_are_not_seen_contributions_are_left_out_and_refused_by_name(tmp_path: Path) -> None:
    encoder = replace(wrap_model(tiny_model("bert")), way="eager", values_reason="its values are not seen")
    extraction = extract(encoder, text_sequences([5, 4]), path=tmp_path / "c.zarr", of_every_run=True)
    assert list(extraction.left_out) == ["count_contributions"]
    assert "does not show them, since it is read from the weights" in extraction.left_out["count_contributions"]
    with pytest.raises(InputError, match="the measure count_contributions needs the values"):
        extract(encoder, text_sequences([5]), path=tmp_path / "d.zarr", measures=["count_contributions"])
    assert not (tmp_path / "d.zarr").exists()


def test_a_learned_sink_is_refused_by_name_where_there_is_none_and_not_missed(tmp_path: Path) -> None:
    encoder, sequences = wrap_model(tiny_model("bert")), text_sequences([5])
    measures, left_out = measures_of_run(["count"], encoder, sequences)
    assert "sink_mass" not in (*measures, *left_out)
    with pytest.raises(
        InputError, match="the measure sink_mass needs a learned sink in the softmax, and the model has none; choose"
    ):
        extract(encoder, sequences, path=tmp_path / "c.zarr", measures=["sink_mass"])


def test_rows_that_do_not_sum_to_one_are_renormalized_for_what_is_of_their_shape() -> None:
    """Seven even entries beside a learned sink that takes nearly all: an effective number of seven."""
    weights = torch.zeros(1, 1, 1, 9)
    weights[..., :7] = 0.0011 / 7
    names = ("entropy", "effective_number", "largest_weight", "sink_mass", "first_mass")
    summary = summarize_rows(
        weights,
        [0.9],
        Site("self", 1, 1),
        torch.ones(1, 1, dtype=torch.bool),
        {"text": torch.zeros(1, 9)},
        check_row_options(measures=names),
    )
    found = {name: float(value.squeeze()) for name, value in summary.items()}
    assert found == pytest.approx(
        {
            "count": 7,
            "entropy": np.log(7),
            "effective_number": 7,
            "largest_weight": 1 / 7,
            "sink_mass": 0.9989,
            "first_mass": 0.0011 / 7,
        },
        rel=1e-5,
    )


def test_measures_of_every_run_keep_the_keys_of_other_cubes() -> None:
    """A cube whose rule has not changed is reused: its key is made of its own measures alone."""
    encoder, sequences = wrap_model(tiny_model("bert")), text_sequences([5])
    keys = {
        measures: extraction_key(encoder, sequences, thresholds=(0.9,), options=check_row_options(measures=measures))
        for measures in (("count",), ("special_mass",), ("entropy",))
    }
    assert len(set(keys.values())) == 3
    renewed = {measure.name for measure in MEASURES if measure.version > 1}
    assert renewed == {"entropy", "effective_number", "largest_weight", "share"}
