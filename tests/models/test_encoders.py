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
from transformers import AutoModel

from metastable.errors import InputError
from metastable.models.devices import resolve_device
from metastable.models.encoders import (
    BUNDLED_MODEL,
    UNLIMITED_LENGTH,
    Tokenizer,
    load_encoder,
    load_tokenizer,
    wrap_model,
)
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
