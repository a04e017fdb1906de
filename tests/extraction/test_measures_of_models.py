"""Every measure of every run against plain transformers, a batch of one: weights, values, windows and sinks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel

from metastable.extraction import extract
from metastable.models.encoders import wrap_model
from metastable.models.positions import attend_in_full
from metastable.study import Sequence
from tests.extraction.oracle import plain_attention, plain_measures, text_sequences
from tests.extraction.tiny_models import BERT_LIKE, DECODER, tiny_model

THRESHOLD = 0.9
LENGTHS = [10, 40, 7, 33]
INSIDE = ["bert", "llama", "gemma2", "deepseek-v3", "phi3-longrope", "llama4", "modernbert", "qwen3-next", "jamba"]
VALUES = {"xlnet": "rel_attn", "mpnet": "v", "deberta-v2": "value_proj", "flaubert": "v_lin", "bigbird": "value"}
"""The module that makes the values, of models that are read from the weights that they return."""


@contextmanager
def _values_seen(model: Any, name: str) -> Iterator[list[NDArray[np.float64]]]:
    """Keep the lengths of the value vectors of each layer, (heads, keys), by transformers' own functions."""
    kept: list[NDArray[np.float64]] = []

    def keep(values: torch.Tensor, n_heads: int) -> None:
        lengths = values.repeat_interleave(n_heads // values.shape[1], dim=1).norm(dim=-1)
        kept.append(lengths[0].numpy().astype(np.float64))

    with pytest.MonkeyPatch.context() as patch:
        if name == "xlnet":  # it multiplies parameters by einsum, with the tokens first
            for layer in model.layer:
                layer.rel_attn.register_forward_pre_hook(
                    lambda attention, given: keep(torch.einsum("ibh,hnd->bnid", given[0], attention.v), 4)
                )
        elif name in VALUES:
            for path, module in model.named_modules():
                if path.rpartition(".")[2] == VALUES[name] or (name == "flaubert" and ".v_lin" in path):
                    module.register_forward_hook(
                        lambda _, __, made: keep(made.unflatten(-1, (4, -1)).reshape(1, -1, 4, 8).transpose(1, 2), 4)
                    )
        for path in {type(module).__module__ for module in model.modules()}:
            own = getattr(importlib.import_module(path), "eager_attention_forward", None)
            if own is None:
                continue

            def attend(module: Any, query: Any, key: Any, value: Any, *args: Any, own: Any = own, **more: Any) -> Any:
                keep(value, query.shape[1])
                return own(module, query, key, value, *args, **more)

            patch.setattr(importlib.import_module(path), "eager_attention_forward", attend)
        yield kept


def _compare(model: Any, name: str, folder: Path, way: Any = "auto") -> tuple[Any, dict[str, int]]:
    """Hold every measure against the oracle; how many rows were compared in each."""
    plain = deepcopy(model)
    attend_in_full(plain)  # BigBird does so itself with these lengths, but then gives no weights
    encoder = wrap_model(model, way=way)
    sequences: list[Sequence] = text_sequences([min(length, encoder.max_length) for length in LENGTHS])
    found = extract(
        encoder,
        sequences,
        thresholds=(THRESHOLD,),
        path=folder / "counts.zarr",
        of_every_run=True,
        measures=("count", "entropy"),
    )
    cube = found.dataset.load()
    (site,) = encoder.sites
    compared: dict[str, int] = {}
    for index, sequence in enumerate(sequences):
        of_one = deepcopy(plain)
        special = np.array(sequence.word_index) < 0
        with _values_seen(of_one, name) as lengths:
            layers = plain_attention(of_one, sequence, {})["self"]
        assert len(layers) == len(lengths) == site.n_layers
        for number, weights, of_values in zip(site.layer_numbers, layers, lengths, strict=True):
            n_heads, n_queries = weights.shape[:2]
            rows = cube.sel(layer=number, site="self").isel(sequence=index)
            for measure, expected in plain_measures(weights, special, of_values, THRESHOLD).items():
                if measure not in cube:
                    continue
                got = rows[measure].to_numpy().reshape(n_heads, -1)[:, :n_queries]
                known = ~np.isnan(expected)
                tolerance = {"atol": 2e-3 if measure == "entropy" else 2e-4, "rtol": 1e-5}
                np.testing.assert_allclose(
                    got[known], expected[known], err_msg=f"{measure}, layer {number}", **tolerance
                )
                compared[measure] = compared.get(measure, 0) + int(known.sum())
    return encoder, compared


@pytest.mark.parametrize("name", [*INSIDE, *VALUES])
def test_measures_equal_those_of_plain_transformers(name: str, tmp_path: Path) -> None:
    encoder, compared = _compare(tiny_model(name), name, tmp_path)
    assert encoder.way == ("eager" if name in VALUES else "interface")
    assert set(compared) == {
        *("count", "count_words", "count_contributions", "share", "special_mass", "first_mass", "entropy")
    }
    assert min(compared.values()) > 0.9 * max(compared.values()) > 500


@pytest.mark.parametrize("way", ["interface", "eager"])
def test_a_learned_sink_reaches_the_measures_by_both_ways(way: Any, tmp_path: Path) -> None:
    encoder, compared = _compare(tiny_model("gpt-oss"), "gpt-oss", tmp_path, way)
    assert (encoder.way, encoder.has_sink) == (way, True)
    assert {"sink_mass", "share", "entropy", "count_contributions"} <= set(compared)


def test_a_sink_that_the_returned_weights_leave_out_is_measured(tmp_path: Path) -> None:
    """Granite returns the softmax without its sink, and scales what comes of it by sigmoid(logsumexp - sink)."""
    model = tiny_model("granite-swa")
    module = importlib.import_module(type(model).__module__)
    own = module.eager_attention_forward

    def with_sink(layer: Any, query: Any, key: Any, value: Any, mask: Any, scaling: float, **more: Any) -> Any:
        output, weights = own(layer, query, key, value, mask, scaling, **more)
        keys = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        scores = query @ keys.transpose(2, 3) * scaling + (0 if mask is None else mask)
        on_keys = torch.sigmoid(scores.logsumexp(dim=-1) - layer.sinks[:, None])
        return output, weights * on_keys[..., None]

    encoder = wrap_model(model)
    assert (encoder.way, encoder.has_sink) == ("interface", True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "eager_attention_forward", with_sink)
        _, compared = _compare(model, "granite-swa", tmp_path)
    assert {"sink_mass", "special_mass", "count_contributions"} <= set(compared)


def test_a_key_whose_weight_is_too_small_for_a_float_is_seen(tmp_path: Path) -> None:
    """Where scores lie far apart, a key that a query sees weighs 0 in one head; padding does so in all."""
    model = tiny_model("bert")
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.attention.self.query.weight[:8] *= 40  # the first head
    cubes = [
        extract(wrap_model(model, way=way), text_sequences(LENGTHS), path=tmp_path / way, measures=["share"]).dataset
        for way in ("interface", "eager")
    ]
    np.testing.assert_allclose(cubes[0]["share"], cubes[1]["share"], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("ErnieConfig", BERT_LIKE),
        ("RoFormerConfig", {**BERT_LIKE, "embedding_size": 32}),
        ("RemBertConfig", {**BERT_LIKE, "input_embedding_size": 32, "output_embedding_size": 32}),
        ("MegatronBertConfig", BERT_LIKE),
        ("NystromformerConfig", BERT_LIKE),
        ("EuroBertConfig", DECODER),
        ("OlmoConfig", DECODER),
        ("StableLmConfig", DECODER),
        ("CohereConfig", DECODER),
        ("Exaone4Config", {**DECODER, "sliding_window": 5}),
        ("MiniMaxConfig", {**DECODER, "layer_types": ["linear_attention", "full_attention", "full_attention"]}),
        ("DiffLlamaConfig", DECODER),
    ],
)
def test_counts_of_further_architectures_equal_plain_attention(kind: str, config: Any, tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    model = AutoModel.from_config(getattr(transformers, kind)(**config), attn_implementation="eager").eval()
    encoder = wrap_model(model)
    (site,) = encoder.sites
    sequences = text_sequences(LENGTHS)
    cube = extract(
        encoder, sequences, path=tmp_path / "counts.zarr", measures=["count_words", "special_mass", "share"]
    ).dataset.load()
    for index, sequence in enumerate(sequences):
        # of a hybrid what its linear attention returns is left out
        layers = plain_attention(model, sequence, {})["self"][-site.n_layers :]
        for number, weights in zip(site.layer_numbers, layers, strict=True):
            rows = cube.sel(layer=number, site="self").isel(sequence=index)
            expected = plain_measures(weights, np.array(sequence.word_index) < 0, None, THRESHOLD)
            for measure in ("count", "count_words", "special_mass", "share"):
                got = rows[measure].to_numpy().reshape(len(weights), -1)[:, : len(sequence.token_ids)]
                known = ~np.isnan(expected[measure])
                np.testing.assert_allclose(got[known], expected[measure][known], atol=2e-4, err_msg=measure)
