"""What a probe tells of a model: sites, the layers' numbers, values, what it needs, and what is refused."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest
import torch
from transformers import AutoModel

from metastable.errors import InputError
from metastable.models import products
from metastable.models.capture import ForwardError, LayerAttention, SinkOfQueriesError, attend_inside, reading
from metastable.models.encoders import fit_lengths, wrap_model
from metastable.models.inputs import fill_id
from metastable.models.numbering import layer_numbers
from tests.extraction.oracle import plain_attention, text_sequences
from tests.extraction.tiny_models import BERT_LIKE, CONFIGS, DECODER, HARD_CONFIGS, tiny_model

NUMBERS = {
    "qwen3-next": (4, 8),
    "jamba": (2, 5),
    "zamba2": (2, 5),
    "bamba": (2, 4),
    "lfm2": (2, 4),
    "nemotron-h": (2, 5),
    "falcon-h1": (1, 2, 3),
    "albert": (1, 2, 3),
    "mpnet": (1, 2, 3),
    "gpt2": (1, 2, 3),
}
RETURN_THEIR_WEIGHTS = ["mpnet", "deberta-v2", "deberta", "bloom", "mpt", "falcon-alibi", "flaubert", "luke", "bigbird"]


def _inputs(n_tokens: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(n_tokens)[None] % 40 + 5
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _read(model: Any, way: Any, inputs: dict[str, torch.Tensor]) -> list[LayerAttention]:
    found: list[LayerAttention] = []
    with reading(model, way) as read:
        read(inputs, found.append)
    return found


@pytest.mark.parametrize("name", NUMBERS)
def test_attention_layers_bear_the_number_that_they_have_in_the_model(name: str) -> None:
    (site,) = wrap_model(tiny_model(name)).sites
    assert site.layer_numbers == NUMBERS[name]
    assert site.n_layers == len(NUMBERS[name])


@pytest.mark.parametrize("name", ["qwen3-next", "jamba"])
def test_layers_bear_their_number_when_a_model_returns_its_weights(name: str) -> None:
    (site,) = wrap_model(tiny_model(name), way="eager").sites
    assert site.layer_numbers == NUMBERS[name]


def test_sites_of_an_encoder_and_a_decoder_are_numbered_apart() -> None:
    sites = {site.name: site.layer_numbers for site in wrap_model(tiny_model("t5")).sites}
    assert sites == {"encoder": (1, 2), "decoder": (1, 2, 3), "cross": (1, 2, 3)}


@pytest.mark.parametrize(
    ("found", "numbers"), [([4, 8], (4, 8)), ([1, 1, 2, 2], (1, 2, 3, 4)), ([3, None], (1, 2)), ([], ())]
)
def test_numbers_that_do_not_grow_give_way_to_the_order(found: list[int | None], numbers: tuple[int, ...]) -> None:
    assert layer_numbers(found) == numbers


@pytest.mark.parametrize("name", RETURN_THEIR_WEIGHTS)
def test_values_of_a_model_that_returns_its_weights_make_the_context_of_its_layers(name: str) -> None:
    model = tiny_model(name)
    encoder = wrap_model(model)
    assert encoder.way == "eager"
    assert encoder.values_reason == ""
    given: list[torch.Tensor] = []
    for module in model.modules():
        module.register_forward_pre_hook(
            lambda _, inputs: given.extend(value for value in inputs if isinstance(value, torch.Tensor))
        )
    layers = _read(model, "eager", _inputs(9))
    assert len(layers) == encoder.sites[0].n_layers
    for layer in layers:
        assert layer.values is not None
        assert layer.values.shape[:3] == (1, layer.weights.shape[1], 9)
        context = (layer.weights @ layer.values).transpose(1, 2).reshape(1, 9, -1)
        assert any(
            tensor.numel() == context.numel() and torch.allclose(tensor.reshape(1, 9, -1), context, atol=1e-5)
            for tensor in given
        )


@pytest.mark.parametrize("name", ["bert", "llama", "deepseek-v3", "gemma2"])
def test_values_of_both_ways_are_the_same(name: str) -> None:
    model = tiny_model(name)
    for inside, eager in zip(_read(model, "interface", _inputs(9)), _read(model, "eager", _inputs(9)), strict=True):
        assert inside.values is not None
        assert eager.values is not None
        torch.testing.assert_close(inside.values, eager.values)


def test_values_of_padded_sequences_are_those_of_each_alone() -> None:
    model = tiny_model("mpnet")
    inputs = _inputs(9)
    padded = {name: torch.nn.functional.pad(value, (0, 3)) for name, value in inputs.items()}
    for alone, together in zip(_read(model, "eager", inputs), _read(model, "eager", padded), strict=True):
        assert alone.values is not None
        assert together.values is not None
        torch.testing.assert_close(together.values[:, :, :9], alone.values, atol=1e-5, rtol=1e-5)


def test_a_layer_that_adds_to_what_it_attended_to_has_no_values() -> None:
    """ConvBERT puts a convolution beside what its heads attended to."""
    from transformers import ConvBertConfig

    model = AutoModel.from_config(ConvBertConfig(**BERT_LIKE, embedding_size=32), attn_implementation="eager").eval()
    assert wrap_model(model).values_reason == (
        "the weights times the values are not what the layer goes on with in site 'self', layer 1"
    )


def test_a_product_that_is_not_seen_gives_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import XLNetConfig

    config = XLNetConfig(vocab_size=60, d_model=32, n_layer=2, n_head=4, d_inner=48)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    assert wrap_model(model).values_reason == ""
    monkeypatch.setattr(products, "_factors_of_sum", lambda *_: [])
    assert "the product of weights and values is not seen" in wrap_model(model).values_reason
    assert all(layer.values is None for layer in _read(model, "eager", _inputs(9)))


@pytest.mark.parametrize(
    ("equation", "axes"),
    [
        ("bnij,jbnd->ibnd", ((0, 1, 2, 3), (1, 2, 0, 3))),
        ("ijbn, jbnd -> ibnd", ((2, 3, 0, 1), (1, 2, 0, 3))),
        ("bnij,bnjd->bnid", ((0, 1, 2, 3), (0, 1, 2, 3))),
        ("ibnd,hnd->ibh", None),
        ("bnij,bnij->bnij", None),
    ],
)
def test_the_factors_of_a_sum_are_those_of_a_matrix_product(equation: str, axes: Any) -> None:
    sizes = dict(zip("bnijdh", (2, 3, 4, 5, 6, 7), strict=True))
    first, second = equation.replace(" ", "").split("->")[0].split(",")
    left, right = (torch.randn([sizes[axis] for axis in term]) for term in (first, second))
    found = products._factors_of_sum(equation, left, right)
    if axes is None:
        assert found == []
        return
    ((weights, values),) = found
    torch.testing.assert_close(weights, left.permute(axes[0]))
    torch.testing.assert_close(values, right.permute(axes[1]))
    whole = torch.einsum(equation.replace(" ", ""), left, right)
    assert torch.allclose((weights @ values).sum(), whole.sum(), atol=1e-3)


@pytest.mark.parametrize("name", ["layoutlmv3", "vilt"])
def test_a_model_that_can_do_without_an_image_reads_text_alone(name: str) -> None:
    model = tiny_model(name)
    encoder = wrap_model(model)
    assert encoder.needs == ()
    assert [(site.name, site.n_layers, site.keys) for site in encoder.sites] == [("self", 3, "text")]
    (sequence,) = text_sequences([9])
    inputs = {"input_ids": torch.tensor([sequence.token_ids]), "attention_mask": torch.ones(1, 9, dtype=torch.long)}
    found = _read(model, encoder.way, inputs)
    blank = {}
    if name == "vilt":  # an image without patches
        blank = {"image_embeds": torch.zeros(1, 0, 32), "pixel_mask": torch.zeros(1, 0)}
    with torch.no_grad():
        plain = model(**inputs, **blank, output_attentions=True).attentions
    for layer, weights in zip(found, plain, strict=True):
        torch.testing.assert_close(layer.weights, weights)


@pytest.mark.parametrize("kind", ["Siglip2", "GroupViT", "XCLIP"])
def test_a_text_tower_is_read_where_the_tower_of_images_cannot_be(kind: str) -> None:
    """SigLIP 2 takes images in patches, GroupViT groups them, X-CLIP takes videos."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    images = {"image_size": 16, "patch_size": 8, **({"depths": [1, 1, 1]} if kind == "GroupViT" else {})}
    config = getattr(transformers, f"{kind}Config")(
        text_config={**sizes, "vocab_size": 60, "max_position_embeddings": 64, "projection_size": 32},
        vision_config={**sizes, **images},
    )
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    tower = copy.deepcopy(model.text_model)
    encoder = wrap_model(model)
    assert [(site.name, site.n_layers, site.queries) for site in encoder.sites] == [("self", 2, "text")]
    assert "of the text tower alone, since model 'model'" in encoder.way_reason
    with torch.no_grad():
        plain = tower(**_inputs(9), output_attentions=True).attentions
    for layer, weights in zip(_read(encoder.model, encoder.way, _inputs(9)), plain, strict=True):
        torch.testing.assert_close(layer.weights, weights)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("clip", ("pixel_values",)),
        ("siglip", ("pixel_values",)),
        ("lxmert", ("visual_feats", "visual_pos")),
        ("vit", ("pixel_values",)),
        ("bert", ()),
        ("gemma3-images", ()),
    ],
)
def test_a_probe_tells_what_a_model_needs_beside_tokens(name: str, needs: tuple[str, ...]) -> None:
    assert wrap_model(tiny_model(name)).needs == needs


@pytest.mark.parametrize("name", ["gemma3-images", "llava", "llama4", "mistral3", "qwen2.5-vl", "idefics3"])
def test_the_language_model_reads_text_as_the_whole_model_does(name: str) -> None:
    model = tiny_model(name)
    whole = copy.deepcopy(model)
    encoder = wrap_model(model)
    (sequence,) = text_sequences([20])
    inputs = {"input_ids": torch.tensor([sequence.token_ids]), "attention_mask": torch.ones(1, 20, dtype=torch.long)}
    plain = plain_attention(whole, sequence, {})["self"]
    for layer, weights in zip(_read(encoder.model, encoder.way, inputs), plain, strict=True):
        torch.testing.assert_close(layer.weights[0].double(), torch.from_numpy(weights), atol=1e-5, rtol=0)


def test_every_tiny_model_is_probed_without_a_traceback() -> None:
    for name in (*CONFIGS, *HARD_CONFIGS):
        assert wrap_model(tiny_model(name), model_id=name).sites


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        ("Reformer", {"attn_layers": ["local", "lsh"], "axial_pos_shape": [8, 8]}, "not over its tokens"),
        ("SqueezeBert", {}, "no softmax"),
        ("PegasusX", {}, "in pieces"),
        ("Whisper", {}, "it reads 'input_features', and not text or an image"),
        ("Wav2Vec2", {}, "it reads 'input_values', and not text or an image"),
        ("Canine", {}, "it reads text without a vocabulary of tokens"),
        ("Swin", {}, "not over its tokens"),
        ("RegNet", {}, "missing 1 required positional argument: 'pixel_values'"),
    ],
)
def test_a_model_whose_attention_is_no_softmax_over_tokens_is_refused_truly(
    kind: str, sizes: dict[str, Any], message: str
) -> None:
    import transformers

    small: dict[str, dict[str, Any]] = {
        "Reformer": {
            "vocab_size": 60,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "attention_head_size": 16,
            "feed_forward_size": 48,
            "axial_pos_embds_dim": [16, 16],
            "local_attn_chunk_length": 4,
            "lsh_attn_chunk_length": 4,
            "max_position_embeddings": 64,
            "num_buckets": 4,
            "is_decoder": False,
        },
        "SqueezeBert": {**BERT_LIKE, "embedding_size": 32},
        "PegasusX": {
            "vocab_size": 60,
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "num_global_tokens": 4,
            "block_size": 4,
        },
        "Whisper": {
            "vocab_size": 60,
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "pad_token_id": 0,
        },
        "Wav2Vec2": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48},
        "RegNet": {},
        "Canine": {name: value for name, value in BERT_LIKE.items() if name != "vocab_size"},
        "Swin": {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 2},
    }
    config = getattr(transformers, f"{kind}Config")(**small[kind], **sizes)
    with pytest.raises(InputError, match=message) as raised:
        wrap_model(AutoModel.from_config(config, attn_implementation="eager").eval(), model_id=kind)
    assert "\n" not in str(raised.value)


def test_a_model_of_one_language_reads_with_its_adapters() -> None:
    from transformers import XmodConfig

    config = XmodConfig(**BERT_LIKE, pad_token_id=1, languages=["de_DE"])
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    plain = copy.deepcopy(model)
    plain.set_default_language("de_DE")
    expected = plain_attention(plain, text_sequences([9])[0], {})["self"]
    found = _read(wrap_model(model).model, "interface", {"input_ids": torch.tensor([text_sequences([9])[0].token_ids])})
    for layer, weights in zip(found, expected, strict=True):
        torch.testing.assert_close(layer.weights[0].double(), torch.from_numpy(weights), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("languages", "shown"),
    [
        (["de_DE", "en_XX"], r"\(en_XX, de_DE\)"),
        ([f"l{i}" for i in range(9)], r"\(l0, l1, l2, l3, l4 and so on, 9 in all\)"),
    ],
)
def test_a_model_of_many_languages_must_say_which(languages: list[str], shown: str) -> None:
    from transformers import XmodConfig

    config = XmodConfig(**BERT_LIKE, pad_token_id=1, languages=languages)
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with pytest.raises(InputError, match=f'set "default_language" in its config.json to one of its languages {shown}'):
        wrap_model(model, model_id="xmod")
    model.set_default_language(languages[-1])  # as the config.json then says
    assert wrap_model(model).sites


def test_weights_that_the_model_returns_otherwise_are_not_taken_from_the_interface() -> None:
    """What eager attention returns is no softmax, and so no word for what the interface gives either."""
    model = tiny_model("bert")
    module = importlib.import_module(type(model).__module__)
    own = module.eager_attention_forward

    def other(*args: Any, **kwargs: Any) -> Any:
        output, weights = own(*args, **kwargs)
        return output, 0.5 * weights

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "eager_attention_forward", other)
        with pytest.raises(InputError, match="eager attention returns other weights in site 'self', layer 1"):
            wrap_model(model)
    assert wrap_model(model).way == "interface"


def test_a_hybrid_whose_linear_attention_returns_weights_too_is_read_inside() -> None:
    from transformers import MiniMaxConfig

    torch.manual_seed(0)
    config = MiniMaxConfig(
        **DECODER, layer_types=["linear_attention", "full_attention", "linear_attention"], num_local_experts=2
    )
    (site,) = wrap_model(AutoModel.from_config(config, attn_implementation="eager").eval()).sites
    assert site.layer_numbers == (2,)


def test_a_sink_that_depends_on_the_query_is_read_from_the_weights_that_the_model_returns() -> None:
    class Sinking(torch.nn.Module):
        pass

    query = torch.randn(1, 2, 3, 4)
    with pytest.raises(SinkOfQueriesError, match="depends on the query"):
        attend_inside(Sinking(), query, query, query, None, sinks=torch.zeros(1, 2, 3, 1))


def test_a_forward_pass_that_fails_is_one_sentence() -> None:
    model = tiny_model("gpt2")
    with (
        reading(model, "interface") as read,
        pytest.raises(ForwardError, match=r"its forward pass fails \(IndexError: index out of range in self\)"),
    ):
        read(_inputs(65), lambda layer: None)
    encoder = wrap_model(model, model_id="tiny")
    with pytest.raises(InputError, match="model 'tiny' cannot be read at 65 tokens: its forward pass fails"):
        fit_lengths(encoder, [3, 65])


@pytest.mark.parametrize("way", ["interface", "eager"])
def test_what_a_listener_raises_is_no_failure_of_the_model(way: Any) -> None:
    def listener(layer: LayerAttention) -> None:
        raise ZeroDivisionError("mine")

    with reading(tiny_model("bert"), way) as read, pytest.raises(ZeroDivisionError, match="mine"):
        read(_inputs(5), listener)


def test_that_memory_ran_out_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("bert")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(model.encoder, "forward", fail)
    with reading(model, "eager") as read, pytest.raises(RuntimeError, match="allocate memory"):
        read(_inputs(5), lambda layer: None)


def test_a_batch_leaves_nothing_behind_in_the_model() -> None:
    model = tiny_model("llama-dynamic")
    before = model.rotary_emb.inv_freq.clone()
    with reading(model, "interface") as read:
        read(_inputs(60), lambda layer: None)
        assert model.rotary_emb.max_seq_len_cached == 16
        torch.testing.assert_close(model.rotary_emb.inv_freq, before)
    with torch.inference_mode():
        model(**_inputs(60))
    assert model.rotary_emb.max_seq_len_cached == 60  # as it would be


def test_what_fills_up_has_an_embedding() -> None:
    from transformers import LlamaConfig

    config = LlamaConfig(**{**DECODER, "pad_token_id": 3})
    assert fill_id(config, 7) == 7
    assert fill_id(config, 60) == 3
    config.pad_token_id = 60
    assert fill_id(config, 60) == 0
    assert fill_id(config) == 0
