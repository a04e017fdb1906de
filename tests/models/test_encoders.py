"""Loading models and tokenizers: words and their pieces, hashes, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from metastable.errors import InputError
from metastable.extraction import extract
from metastable.models.capture import LayerAttention, reading
from metastable.models.devices import resolve_device
from metastable.models.encoders import (
    BUNDLED_MODEL,
    UNLIMITED_LENGTH,
    Tokenizer,
    load_encoder,
    load_tokenizer,
    wrap_model,
)
from tests.extraction.oracle import text_sequences
from tests.extraction.tiny_models import BERT_LIKE, HARD_CONFIGS
from tests.model_folders import model_folder, sentence_piece

WORDS = ["baking soda", "unbelievableness", "nan", "café", "it's"]


@pytest.fixture(scope="module")
def bundled() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing but a local socket through."""

    def refuse(self: Any, address: Any) -> None:
        raise OSError(f"the network was asked for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_bundled_model_is_bert_with_6_layers_of_12_heads() -> None:
    encoder = load_encoder(device="cpu")
    assert [(site.name, site.n_layers, site.n_heads) for site in encoder.sites] == [("self", 6, 12)]
    assert encoder.model_id == BUNDLED_MODEL
    assert encoder.max_length == 512
    assert encoder.dtype == "float32"
    assert encoder.way == "interface"
    assert not encoder.model.training
    assert load_encoder(device="cpu").weights_hash == encoder.weights_hash


def test_each_token_knows_its_word(bundled: Tokenizer) -> None:
    encoded = bundled.encode_words(WORDS)
    assert bundled.tokens(encoded.token_ids) == (
        "[CLS]", "baking", "soda", "unbelievable", "##ness", "nan", "cafe", "it", "'", "s", "[SEP]",
    )  # fmt: skip
    assert encoded.word_index == (-1, 0, 0, 1, 1, 2, 3, 4, 4, 4, -1)
    assert encoded.special == (True, *(False,) * 9, True)
    assert encoded.text == "baking soda unbelievableness nan café it's"
    assert tuple(bundled.backend(encoded.text)["input_ids"]) == encoded.token_ids


def test_a_pair_has_segments_and_goes_on_counting_words(bundled: Tokenizer) -> None:
    encoded = bundled.encode("what is it", "a unbelievableness")
    assert encoded.word_index == (-1, 0, 1, 2, -1, 3, 4, 4, -1)
    assert encoded.segment_ids == (0, 0, 0, 0, 0, 1, 1, 1, 1)
    assert len(encoded.token_ids) == 6 + bundled.n_special_pair
    assert tuple(bundled.backend("what is it", "a unbelievableness")["input_ids"]) == encoded.token_ids


@pytest.mark.parametrize(("kind", "segments"), [("albert", (0, 0, 0, 0, 1, 1)), ("roberta", ())])
def test_segments_are_given_where_the_model_has_them(kind: str, segments: tuple[int, ...], tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(model_folder(tmp_path, kind)))
    assert tokenizer.encode("so so", "so").segment_ids == segments


def test_pieces_are_counted_as_they_stand_in_a_text(bundled: Tokenizer) -> None:
    encoded = bundled.encode_words(["a", *WORDS])
    expected = [encoded.word_index.count(index) for index in range(1, len(WORDS) + 1)]
    assert bundled.count_pieces(WORDS) == expected == [2, 2, 1, 1, 3]
    assert bundled.pieces("unbelievableness") == 2
    assert bundled.count_pieces([]) == []
    assert bundled.n_special == 2
    assert bundled.pad_id == 0


@pytest.mark.parametrize("kind", ["bert", "roberta", "albert"])
def test_words_are_traced_in_every_kind_of_tokenizer(kind: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(model_folder(tmp_path, kind)))
    words = ["so", "soda", "it", "so", "café"]
    encoded = tokenizer.encode_words(words)
    assert tuple(tokenizer.backend(encoded.text)["input_ids"]) == encoded.token_ids
    assert encoded.word_index[0] == encoded.word_index[-1] == -1
    inner = encoded.word_index[1:-1]
    assert list(inner) == sorted(inner)
    assert set(inner) == set(range(len(words)))
    spelled = [""] * len(words)
    for token, word in zip(encoded.token_ids[1:-1], inner, strict=True):
        spelled[word] += tokenizer.tokens([token])[0].lstrip("▁#")
    if kind != "roberta":  # whose bytes of é are no characters by themselves
        assert spelled == [word if kind == "albert" else word.replace("é", "e") for word in words]
    after_first = [inner.count(index) for index in range(1, len(words))]
    assert tokenizer.count_pieces(words[1:]) == after_first


def test_a_word_that_is_not_in_the_text_is_refused(bundled: Tokenizer) -> None:
    with pytest.raises(InputError, match="'two' is not in the text"):
        bundled.encode_words(["one", "two"], text="one three")


@pytest.mark.parametrize(("kind", "length"), [("bert", 40), ("roberta", 38), ("albert", 40)])
def test_a_local_folder_loads(kind: str, length: int, tmp_path: Path) -> None:
    encoder = load_encoder(str(model_folder(tmp_path, kind)), device="cpu")
    assert [(site.name, site.n_layers, site.n_heads) for site in encoder.sites] == [("self", 2, 4)]
    assert encoder.max_length == length
    assert encoder.tokenizer is not None
    # The longest text that fits must run: RoBERTa's positions begin after its padding index.
    ids = torch.full((1, length), 5)
    with torch.inference_mode():
        encoder.model(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_the_hash_follows_weights_and_configuration(tmp_path: Path) -> None:
    first = model_folder(tmp_path / "first", "albert")
    same, other = tmp_path / "same", tmp_path / "other"
    shutil.copytree(first, same)
    shutil.copytree(first, other)
    config = json.loads((other / "config.json").read_text())
    config["num_attention_heads"] = 2
    (other / "config.json").write_text(json.dumps(config))
    hashes = [load_encoder(str(folder), device="cpu").weights_hash for folder in (first, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == len(hashlib.sha256().hexdigest())
    model = AutoModel.from_pretrained(first)
    before = wrap_model(model).weights_hash
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1
    assert wrap_model(model).weights_hash != before


def test_half_precision_is_given_when_asked(tmp_path: Path) -> None:
    encoder = load_encoder(str(model_folder(tmp_path, "bert")), device="cpu", dtype="bfloat16")
    assert encoder.dtype == "bfloat16"
    assert next(encoder.model.parameters()).dtype == torch.bfloat16
    with pytest.raises(InputError, match="dtype 'int8' is unknown"):
        load_encoder(str(tmp_path), dtype="int8")


def test_a_model_without_a_length_of_its_own_is_unlimited(tmp_path: Path) -> None:
    from transformers import T5Config

    T5Config(vocab_size=40, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4).save_pretrained(tmp_path)
    sentence_piece(tmp_path)
    assert load_tokenizer(str(tmp_path)).max_length == UNLIMITED_LENGTH


def _break(folder: Path, how: str) -> None:
    if how == "no config":
        (folder / "config.json").unlink()
    elif how == "no tokenizer":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
    elif how == "pickled weights":
        (folder / "model.safetensors").unlink()
        torch.save({}, folder / "pytorch_model.bin")
    elif how == "cut weights":
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    elif how == "other code":
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model", "AutoConfig": "mine.Config"}}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "mine.py").write_text("raise SystemExit('this code must not run')\n")
    else:
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        name = next(name for name in tensors if "query.weight" in name)
        del tensors[name]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no config", "has no config.json"),
        ("no tokenizer", "no tokenizer files"),
        ("pickled weights", "no weights in safetensors"),
        ("cut weights", "could not be read"),
        ("other code", "could not be read"),
        ("missing tensor", "lack 1 tensors"),
    ],
)
def test_a_broken_folder_is_refused_in_one_sentence(how: str, message: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", "albert")
    _break(folder, how)
    with pytest.raises(InputError, match=message) as raised:
        load_encoder(str(folder), device="cpu")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/model", "~/nowhere", "a/b/c", ""])
def test_a_folder_that_is_not_there_is_refused_without_the_network(name: str) -> None:
    with pytest.raises(InputError, match="does not exist; give an existing folder or a Hugging Face id"):
        load_tokenizer(name)


def test_a_hub_id_that_cannot_be_had_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for load in (load_tokenizer, load_encoder):
        with pytest.raises(InputError, match="check the id, the revision and the network, or give a local") as raised:
            load("nobody/no-such-model", revision="v1")
        assert "\n" not in str(raised.value)
        assert "'v1'" in str(raised.value)


def test_a_hub_id_without_network_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the network is blocked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    start = time.monotonic()
    with pytest.raises(InputError, match="could not be had from the Hugging Face hub"):
        load_tokenizer("nobody/no-such-model")
    # The hub's own client tries six times, for half a minute.
    assert time.monotonic() - start < 8


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    assert resolve_device("cpu") == "cpu"
    with pytest.raises(InputError, match="device 'cuda' is not available on this machine; choose auto or one of: cpu"):
        resolve_device("cuda")
    with pytest.raises(InputError, match="device 'gpu' is unknown; choose auto, cpu, cuda or mps"):
        resolve_device("gpu")


def test_each_process_of_a_host_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == "cuda"
    for rank, device in ((0, "cuda:0"), (1, "cuda:1"), (2, "cuda:0")):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert resolve_device("cuda") == resolve_device("auto") == device
    assert resolve_device("cpu") == "cpu"


def test_a_tokenizer_comes_without_the_weights(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "albert")
    (folder / "model.safetensors").unlink()
    assert load_tokenizer(str(folder)).max_length == 40


def _slow_bert(folder: Path) -> Tokenizer:
    """The bundled encoder's tokenizer in its old form, which does not know where its tokens come from."""
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    vocabulary = load_tokenizer().backend.get_vocab()
    path = folder / "vocab.txt"
    path.write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), encoding="utf-8")
    return Tokenizer("slow", None, BertTokenizerLegacy(str(path)), 512, has_segments=True)


@pytest.mark.parametrize("words", [WORDS, ["so"], ["A", "b-c", "U.S.", "don't", "naïve", "東京"], ["baking soda"] * 9])
def test_words_of_a_slow_tokenizer_are_those_of_the_fast_one(
    words: list[str], bundled: Tokenizer, tmp_path: Path
) -> None:
    slow = _slow_bert(tmp_path)
    assert not slow.backend.is_fast
    assert slow.encode_words(words) == bundled.encode_words(words)
    assert slow.encode_words(words, words[::-1]) == bundled.encode_words(words, words[::-1])
    assert slow.count_pieces(words) == bundled.count_pieces(words)
    assert (slow.n_special, slow.n_special_pair, slow.pad_id) == (2, 3, 0)


def test_punctuation_between_words_goes_where_the_fast_tokenizer_has_it(bundled: Tokenizer, tmp_path: Path) -> None:
    text = "(one), two-and three!!"
    words = ["one", "two", "three"]
    assert _slow_bert(tmp_path).encode_words(words, text=text) == bundled.encode_words(words, text=text)


def _sentence_pieces(folder: Path, kind: str) -> tuple[Any, Any]:
    """A slow tokenizer of the kind of T5 and ALBERT, and the fast one of the same pieces."""
    import sentencepiece
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import models, normalizers, pre_tokenizers
    from transformers import BertGenerationTokenizer, PreTrainedTokenizerFast

    readme = Path(__file__).parents[2] / "README.md"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(readme.read_text(encoding="utf-8").splitlines()),
        model_prefix=str(folder / kind),
        vocab_size=400,
        model_type=kind,
        character_coverage=1.0,
        minloglevel=2,
    )
    slow = BertGenerationTokenizer(str(folder / f"{kind}.model"))
    pieces = sentencepiece.SentencePieceProcessor(str(folder / f"{kind}.model"))
    scored = [(pieces.id_to_piece(index), pieces.get_score(index)) for index in range(len(pieces))]
    fast = FastTokenizer(models.Unigram(scored, unk_id=0))
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return slow, PreTrainedTokenizerFast(tokenizer_object=fast, unk_token="<unk>", pad_token="<unk>")


@pytest.mark.parametrize("words", [WORDS, ["so"], ["it's", "a", "so-called", "head", "(of", "attention)"]])
def test_words_of_sentence_pieces_are_those_of_the_fast_tokenizer(words: list[str], tmp_path: Path) -> None:
    slow, fast = (Tokenizer("pieces", None, backend, 512) for backend in _sentence_pieces(tmp_path, "unigram"))
    ours, theirs = slow.encode_words(words), fast.encode_words(words)
    assert slow.tokens(ours.token_ids) == fast.tokens(theirs.token_ids)
    assert ours.word_index == theirs.word_index
    assert slow.count_pieces(words) == fast.count_pieces(words)


def test_bytes_are_traced_to_words() -> None:
    from transformers import ByT5Tokenizer

    encoded = Tokenizer("bytes", None, ByT5Tokenizer(), 512).encode_words(["so", "it"])
    assert encoded.word_index == (0, 0, 1, 1, 1, -1)


def test_a_tokenizer_that_joins_words_is_refused() -> None:
    class Joining:
        is_fast = False

        def tokenize(self, text: str) -> list[str]:
            return text.replace("a b", "ab").split()

        def __call__(self, text: str, *_: Any, **__: Any) -> dict[str, list[int]]:
            n_tokens = len(self.tokenize(text))
            return {"input_ids": [7] * n_tokens, "special_tokens_mask": [0] * n_tokens}

    tokenizer = Tokenizer("joining", None, Joining(), 512)
    assert tokenizer.encode_words(["b", "a", "c"]).word_index == (0, 1, 2)
    with pytest.raises(InputError, match="the tokenizer Joining joins 'a' with what comes after it"):
        tokenizer.encode_words(["a", "b"])


def test_a_folder_with_a_slow_tokenizer_loads(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    slow, _ = _sentence_pieces(tmp_path, "unigram")
    slow.save_pretrained(folder)
    assert not AutoTokenizer.from_pretrained(folder).is_fast
    tokenizer = load_encoder(str(folder), device="cpu").tokenizer
    assert tokenizer is not None
    assert tokenizer.encode_words(["so", "it"]).word_index[-1] == 1


@pytest.mark.parametrize("kind", ["t5", "siglip"])
def test_an_encoder_alone_and_a_text_tower_alone_load(kind: str, tmp_path: Path) -> None:
    from transformers import SiglipTextModel, T5Config, T5EncoderModel

    size = len(sentence_piece(tmp_path))
    if kind == "t5":
        config = T5Config(vocab_size=size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
        model = T5EncoderModel(config)
    else:
        text = HARD_CONFIGS["siglip"]().text_config
        text.vocab_size = size
        model = SiglipTextModel(text)
    model.save_pretrained(tmp_path)
    if kind == "t5":  # as the encoders on the hub are written
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, "is_encoder_decoder": True}))
    encoder = load_encoder(str(tmp_path), device="cpu")
    assert [(site.name, site.n_layers) for site in encoder.sites] == [("self", 2 if kind == "t5" else 3)]
    assert encoder.needs == ()


@pytest.mark.parametrize("kind", ["DPRContextEncoder", "BartForCausalLM", "UMT5EncoderModel"])
def test_a_part_that_is_no_base_model_loads_and_reads_as_it_was_written(kind: str, tmp_path: Path) -> None:
    """DPR has two encoders, BART may be a decoder alone, and UMT5's encoder alone says that it has a decoder."""
    import transformers

    size = len(sentence_piece(tmp_path))
    bart = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    config = {
        "DPRContextEncoder": lambda: transformers.DPRConfig(**{**BERT_LIKE, "vocab_size": size}),
        "BartForCausalLM": lambda: transformers.BartConfig(vocab_size=size, d_model=32, decoder_layers=2, **bart),
        "UMT5EncoderModel": lambda: transformers.UMT5Config(
            vocab_size=size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4
        ),
    }[kind]()
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config).eval()
    model.save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path), device="cpu")
    assert type(encoder.model).__name__ == kind
    ids = torch.tensor([encoder.tokenizer.encode("so it is").token_ids])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    model.set_attn_implementation("eager")
    with torch.no_grad():
        plain = model(**inputs, output_attentions=True).attentions
    found: list[LayerAttention] = []
    with reading(encoder.model, encoder.way) as read:
        read(inputs, found.append)
    assert [(layer.site, layer.layer) for layer in found] == [("self", number) for number in range(len(plain))]
    for layer, weights in zip(found, plain, strict=True):
        torch.testing.assert_close(layer.weights, weights)


def test_a_model_of_text_and_images_loads_as_its_language_model(tmp_path: Path) -> None:
    config = HARD_CONFIGS["gemma3-images"]()
    sentence_piece(tmp_path)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    encoder = load_encoder(str(tmp_path), device="cpu")
    assert type(encoder.model).__name__ == "Gemma3TextModel"
    assert [(site.name, site.n_layers, site.queries) for site in encoder.sites] == [("self", 3, "text")]
    assert encoder.max_length == 64


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        ({"quant_method": "gptq", "bits": 4}, "are quantized by 'gptq' and cannot be read with what this machine has"),
        ({"quant_method": "awq", "bits": 4}, "install it with `pip install gptqmodel`"),
        ({"quant_method": "quanto", "weights": "int8"}, "pip install optimum-quanto"),
    ],
)
def test_quantized_weights_name_the_package_that_is_lacking(
    quantization: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path, "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))
    with pytest.raises(InputError, match=message) as raised:
        load_encoder(str(folder), device="cpu")
    assert str(raised.value).endswith("install what is lacking, or give the model unquantized")


@pytest.mark.parametrize("kind", ["albert", "bert", "gpt2", "llama", "roberta"])
def test_a_tokenizer_without_its_model_knows_how_much_the_model_reads(kind: str, tmp_path: Path) -> None:
    folder = str(model_folder(tmp_path, kind))
    assert load_tokenizer(folder).max_length == load_encoder(folder, device="cpu").max_length


def _few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metastable.models.devices.free_memory", lambda device: 50_000)


def test_a_model_that_is_too_large_names_what_would_spread_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path, "llama")
    _few_bytes(monkeypatch)
    monkeypatch.setattr("metastable.models.devices.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"take 0\.0 GB and device 'cpu' holds 0\.0 GB; run: pip install accelerate"):
        load_encoder(str(folder), device="cpu")
    monkeypatch.setenv("LOCAL_RANK", "0")
    load_encoder(str(folder), device="cpu")


@pytest.mark.parametrize("kind", ["bert", "llama", "mpnet", "t5"])
def test_a_model_that_is_spread_over_memory_and_disk_reads_the_same(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate")
    folder = model_folder(tmp_path / "model", kind, layers=3, sharp=20)
    whole = load_encoder(str(folder), device="cpu")
    size = sum(weights.numel() * 4 for weights in whole.model.parameters())
    _few_bytes(monkeypatch)
    monkeypatch.setattr("transformers.integrations.accelerate.get_max_memory", lambda *_: {"cpu": size // 2})
    spread = load_encoder(str(folder), device="cpu")
    assert any(weights.device.type == "meta" for weights in spread.model.parameters())
    assert spread.device == "cpu"
    assert (spread.sites, spread.way, spread.weights_hash) == (whole.sites, whole.way, whole.weights_hash)
    cubes = [
        extract(encoder, text_sequences([5, 9], vocabulary=30), path=tmp_path / name / "counts.zarr").dataset["count"]
        for name, encoder in (("whole", whole), ("spread", spread))
    ]
    assert cubes[0].equals(cubes[1])
