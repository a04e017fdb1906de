"""The counts of every architecture against plain eager attention, one sequence at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.models import capture as capture_module
from metastable.models.capture import reading
from metastable.models.encoders import wrap_model
from metastable.study import Sequence
from tests.extraction.oracle import count_row, features_for, image_sequences, plain_attention, text_sequences
from tests.extraction.tiny_models import BERT_LIKE, CONFIGS, tiny_model

THRESHOLDS = (0.5, 0.9)
LENGTHS = [4, 11, 7, 11, 3, 9]
EAGER_ONLY = {"mpnet", "deberta-v2", "lxmert"}
SITES = {
    "t5": {"encoder": (2, 4), "decoder": (3, 4), "cross": (3, 4)},
    "bart": {"encoder": (2, 4), "decoder": (3, 2), "cross": (3, 2)},
    "vit": {"vision": (2, 4)},
    "clip": {"text": (3, 4), "vision": (2, 4)},
    "lxmert": {"language": (3, 4), "vision": (2, 4), "cross": (2, 4)},
    "modernbert": {"self": (4, 4)},
}


def _sequences(name: str) -> list[Sequence]:
    return image_sequences(len(LENGTHS)) if name == "vit" else text_sequences(LENGTHS)


def _compare(cube: xr.Dataset, model: Any, sequences: list[Sequence], features: dict[str, Any]) -> float:
    """Hold every count against the oracle; the share of rows that are too close to call."""
    count, mean = cube["count"], cube["mean_count"]
    n_near = n_rows = 0
    for index, sequence in enumerate(sequences):
        plain = plain_attention(model, sequence, {name: values[index] for name, values in features.items()})
        assert set(plain) == set(cube["site"].to_numpy())
        for site, layers in plain.items():
            for layer, heads in enumerate(layers):
                for k, threshold in enumerate(THRESHOLDS):
                    got = count.sel(site=site, layer=layer + 1)[index, :, k].to_numpy()
                    n_heads, n_queries = heads.shape[:2]
                    assert not got[n_heads:].any()
                    assert not got[:, n_queries:].any()
                    for head in range(n_heads):
                        for query in range(n_queries):
                            expected, near = count_row(heads[head, query], threshold)
                            n_rows += 1
                            n_near += near
                            assert near or got[head, query] == expected, (site, layer, head, query)
                    np.testing.assert_allclose(
                        mean.sel(site=site, layer=layer + 1)[index, :n_heads, k],
                        got[:n_heads, :n_queries].mean(axis=1),
                        rtol=1e-12,
                    )
            n_layers = len(layers)
            assert np.isnan(mean.sel(site=site)[index, n_layers:]).all()
            assert not count.sel(site=site)[index, n_layers:].any()
    return n_near / n_rows


@pytest.mark.parametrize("name", CONFIGS)
def test_counts_equal_plain_attention_of_each_sequence_alone(name: str, tmp_path: Path) -> None:
    model = tiny_model(name)
    encoder = wrap_model(model)
    sequences, features = _sequences(name), features_for(name, len(LENGTHS))
    result = extract(
        encoder, sequences, thresholds=THRESHOLDS, path=tmp_path / "counts.zarr", batch_tokens=35, features=features
    )
    assert result.capture == ("eager" if name in EAGER_ONLY else "interface")
    sites = {site.name: (site.n_layers, site.n_heads) for site in encoder.sites}
    assert sites == SITES.get(name, {"self": (3, 4)})
    assert _compare(result.dataset, model, sequences, features) < 0.01
    # The oracle would pass a cube of ones if attention were one-hot; these models' is not.
    assert len(np.unique(result.dataset["count"])) > 3


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in EAGER_ONLY])
def test_both_ways_give_the_same_counts(name: str, tmp_path: Path) -> None:
    sequences, features = _sequences(name), features_for(name, len(LENGTHS))
    cubes = [
        extract(
            wrap_model(tiny_model(name), way=way),
            sequences,
            thresholds=THRESHOLDS,
            path=tmp_path / way / "counts.zarr",
            features=features,
        )
        for way in ("interface", "eager")
    ]
    assert [cube.capture for cube in cubes] == ["interface", "eager"]
    inside, eager = (cube.dataset["count"] for cube in cubes)
    inside = inside.sel(site=eager["site"])
    assert float((inside != eager).mean()) < 1e-3
    assert int(np.abs(inside.astype(int) - eager.astype(int)).max()) <= 1


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "modernbert"])
def test_keys_that_a_query_does_not_see_are_not_keys(name: str) -> None:
    model = tiny_model(name)
    ids = torch.arange(5, 25)[None]
    widths: dict[int, list[int]] = {}
    with reading(model, "interface") as read:
        read(
            {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
            lambda layer: widths.update({layer.layer: (layer.weights[0, 0] > 0).sum(-1).tolist()}),
        )
    seen = {tuple(width) for width in widths.values()}
    causal = tuple(range(1, 21))
    if name in ("gpt2", "llama"):
        assert seen == {causal}
    elif name == "gemma2":  # every other layer sees the last five tokens
        assert seen == {causal, tuple(min(5, width) for width in causal)}
    else:  # local layers see three tokens to each side
        assert seen == {(20,) * 20, tuple(min(i, 3) + min(19 - i, 3) + 1 for i in range(20))}


def test_shared_weights_are_counted_once_a_layer(tmp_path: Path) -> None:
    model = tiny_model("albert")
    assert len({id(module) for module in model.modules() if type(module).__name__ == "AlbertAttention"}) == 1
    cube = extract(wrap_model(model), text_sequences(LENGTHS), path=tmp_path / "counts.zarr").dataset
    means = cube["mean_count"].isel(site=0, threshold=0)
    assert means.sizes["layer"] == 3
    assert not np.allclose(means.sel(layer=1), means.sel(layer=2))


def test_a_tower_without_input_stays_out(tmp_path: Path) -> None:
    encoder = wrap_model(tiny_model("clip"))
    words, images = text_sequences(LENGTHS), image_sequences(len(LENGTHS))
    features = features_for("clip", len(LENGTHS))
    both = extract(encoder, words, path=tmp_path / "both.zarr", features=features).dataset
    text = extract(encoder, words, path=tmp_path / "text.zarr").dataset
    vision = extract(encoder, images, path=tmp_path / "vision.zarr", features=features).dataset
    for cube, site in ((text, "text"), (vision, "vision")):
        assert cube["site"].to_numpy().tolist() == [site]
        n_layers, n_tokens = cube.sizes["layer"], cube.sizes["token"]
        expected = both["count"].sel(site=site)[:, :n_layers, ..., :n_tokens]
        np.testing.assert_array_equal(cube["count"].sel(site=site), expected)


@pytest.mark.parametrize(("dtype", "name"), [("bfloat16", "bert"), ("float16", "llama")])
def test_the_softmax_is_float32_whatever_the_type_of_the_weights(dtype: str, name: str) -> None:
    model = tiny_model(name).to(getattr(torch, dtype))
    ids = torch.arange(5, 25)[None]
    with reading(model, "interface") as read:
        found: list[torch.Tensor] = []
        read(
            {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
            lambda layer: found.append(layer.weights),
        )
    for weights in found:
        assert weights.dtype == torch.float32
        # Rows of bfloat16 weights would miss 1 by a hundredth.
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]), atol=1e-5, rtol=0)


def test_a_model_without_the_interface_in_half_precision_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot be read in bfloat16: .*; load it in float32, with --dtype float32"):
        wrap_model(tiny_model("mpnet").to(torch.bfloat16))


@pytest.mark.parametrize("name", ["gpt-oss", "granite-swa", "qwen3-next"])
def test_sinks_and_hybrids_are_read_in_half_precision(name: str) -> None:
    encoder = wrap_model(tiny_model(name).to(torch.bfloat16))
    assert (encoder.way, encoder.has_sink) == ("interface", name != "qwen3-next")


def test_a_model_without_softmax_attention_is_refused() -> None:
    from transformers import AutoModel, FNetConfig

    config = FNetConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, intermediate_size=48, max_position_embeddings=64
    )
    with pytest.raises(InputError, match="'fnet' yields no softmax attention"):
        wrap_model(AutoModel.from_config(config).eval(), model_id="fnet")


def test_a_model_whose_attention_feels_padding_reads_sequences_of_one_length(tmp_path: Path) -> None:
    """ConvBERT's convolution over tokens reaches across the padding, whatever the mask."""
    from transformers import AutoModel, ConvBertConfig

    torch.manual_seed(0)
    model = AutoModel.from_config(ConvBertConfig(**BERT_LIKE, embedding_size=32), attn_implementation="eager").eval()
    encoder = wrap_model(model)
    assert not encoder.pads
    assert wrap_model(tiny_model("bert")).pads
    sequences = text_sequences(LENGTHS)
    cube = extract(encoder, sequences, thresholds=THRESHOLDS, path=tmp_path / "counts.zarr", batch_tokens=99).dataset
    assert _compare(cube, model, sequences, {}) < 0.02


def test_an_encoder_without_softmax_attention_is_not_left_out_in_silence() -> None:
    """LongT5's decoder attends through the interface, its encoder by blocks, off it."""
    from transformers import AutoModel, LongT5Config

    config = LongT5Config(vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)
    with pytest.raises(InputError, match="no softmax attention is seen in site 'encoder'"):
        wrap_model(AutoModel.from_config(config).eval())


def test_weights_that_are_not_over_the_tokens_are_refused() -> None:
    from transformers import AutoModel, LongformerConfig

    config = LongformerConfig(**BERT_LIKE, attention_window=[4, 4, 4])
    with pytest.raises(InputError, match="not over its tokens"):
        wrap_model(AutoModel.from_config(config).eval())


@pytest.mark.parametrize("spoil", ["scale", "negate"])
def test_weights_that_are_no_softmax_are_refused(spoil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("mpnet")
    softmax = torch.nn.functional.softmax

    def other(*args: Any, **kwargs: Any) -> torch.Tensor:
        weights = softmax(*args, **kwargs)
        return weights * 0.7 if spoil == "scale" else 2 * weights - weights.mean(-1, keepdim=True)

    monkeypatch.setattr(torch.nn.functional, "softmax", other)
    with pytest.raises(InputError, match="are no softmax"):
        wrap_model(model)


def test_an_interface_that_does_not_attend_as_eager_does_is_left_for_eager(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weigh = capture_module._weigh

    def other(scores: Any, listener: Any) -> torch.Tensor:
        return weigh(scores._replace(scaling=2 * scores.scaling), listener)

    monkeypatch.setattr(capture_module, "_weigh", other)
    encoder = wrap_model(tiny_model("bert"))
    assert encoder.way == "eager"
    assert encoder.way_reason == "the attention interface and eager attention differ in site 'self', layer 1"
    with pytest.raises(InputError, match="by the way 'interface': the attention interface and eager"):
        wrap_model(tiny_model("bert"), way="interface")
    with pytest.raises(InputError, match=r"its own softmax runs in torch\.bfloat16"):
        wrap_model(tiny_model("bert").to(torch.bfloat16))


@pytest.mark.parametrize(
    ("name", "features", "message"),
    [
        ("lxmert", {}, "needs 'visual_feats'"),
        ("vit", {}, "needs 'pixel_values'"),
        ("bert", {"pixel_values": np.zeros((6, 3, 16, 16))}, "takes no feature 'pixel_values'"),
        ("clip", {"pixel_values": np.zeros((5, 3, 16, 16))}, "5 rows for 6 sequences"),
    ],
)
def test_features_that_do_not_fit_are_refused(
    name: str, features: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        extract(wrap_model(tiny_model(name)), _sequences(name), path=tmp_path / "counts.zarr", features=features)
    assert not list(tmp_path.iterdir())
