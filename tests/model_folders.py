"""Folders with tiny randomly initialised models and their tokenizers, as `save_pretrained` writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedTokenizerFast,
    Qwen3NextConfig,
    RobertaConfig,
    T5Config,
)

from metastable.models.encoders import load_tokenizer

_LETTERS = "abcdefghijklmnopqrstuvwxyz'é"


def byte_level(folder: Path, *, special: bool = True) -> PreTrainedTokenizerFast:
    """A RoBERTa tokenizer without merges: every byte is a token, a space is part of the word after it.

    Without the special tokens it is one of GPT-2, which adds nothing to a text and has no padding.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *alphabet])}
    vocabulary["Ġs"] = len(vocabulary)
    fast = FastTokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "s")], unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if special:
        fast.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
        names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    else:
        names = {"eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, **names)
    tokenizer.save_pretrained(folder)
    return tokenizer


def sentence_piece(folder: Path) -> PreTrainedTokenizerFast:
    """An ALBERT-like tokenizer: a word begins with a mark that takes the place of the space."""
    pieces = [("<pad>", 0.0), ("<unk>", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("▁", -2.0), ("▁so", -3.0)]
    pieces += [(letter, -5.0) for letter in _LETTERS]
    fast = FastTokenizer(models.Unigram(pieces, unk_id=1))
    fast.normalizer = normalizers.Lowercase()
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=fast, cls_token="[CLS]", sep_token="[SEP]", unk_token="<unk>", pad_token="<pad>"
    )
    tokenizer.model_input_names = ["input_ids", "attention_mask"]  # as ALBERT's own
    tokenizer.save_pretrained(folder)
    return tokenizer


def end_marked(folder: Path) -> PreTrainedTokenizerFast:
    """A T5-like tokenizer: one special token, at the end."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -5.0) for letter in _LETTERS)]
    fast = FastTokenizer(models.Unigram(pieces, unk_id=2))
    fast.normalizer = normalizers.Lowercase()
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def word_piece(folder: Path) -> Any:
    """The bundled encoder's own tokenizer."""
    tokenizer = load_tokenizer().backend
    tokenizer = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _bert_like(size: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": size,
        "hidden_size": 8 * heads,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        **more,
    }


def _bert(folder: Path, layers: int, heads: int) -> Any:
    return BertConfig(**_bert_like(len(word_piece(folder)), layers, heads))


def _albert(folder: Path, layers: int, heads: int) -> Any:
    return AlbertConfig(**_bert_like(len(sentence_piece(folder)), layers, heads, embedding_size=16))


def _roberta(folder: Path, layers: int, heads: int) -> Any:
    return RobertaConfig(**_bert_like(len(byte_level(folder)), layers, heads, pad_token_id=1, type_vocab_size=1))


def _mpnet(folder: Path, layers: int, heads: int) -> Any:
    return MPNetConfig(**_bert_like(len(byte_level(folder)), layers, heads, pad_token_id=1))


def _deberta(folder: Path, layers: int, heads: int) -> Any:
    return DebertaV2Config(
        **_bert_like(len(sentence_piece(folder)), layers, heads),
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=16,
    )


def _distilbert(folder: Path, layers: int, heads: int) -> Any:
    return DistilBertConfig(
        vocab_size=len(word_piece(folder)),
        dim=8 * heads,
        hidden_dim=48,
        n_layers=layers,
        n_heads=heads,
        max_position_embeddings=40,
    )


def _modernbert(folder: Path, layers: int, heads: int) -> Any:
    sizes = _bert_like(len(word_piece(folder)), layers, heads, local_attention=6, global_attn_every_n_layers=3)
    return ModernBertConfig(
        **sizes, pad_token_id=0, cls_token_id=101, sep_token_id=102, bos_token_id=101, eos_token_id=102
    )


def _gpt2(folder: Path, layers: int, heads: int) -> Any:
    size = len(byte_level(folder, special=False))
    return GPT2Config(
        vocab_size=size, n_embd=8 * heads, n_layer=layers, n_head=heads, n_positions=40, bos_token_id=2, eos_token_id=2
    )


def _llama(folder: Path, layers: int, heads: int) -> Any:
    sizes = _bert_like(len(byte_level(folder, special=False)), layers, heads)
    return LlamaConfig(**sizes, num_key_value_heads=max(1, heads // 2), bos_token_id=0, eos_token_id=2)


def _t5(folder: Path, layers: int, heads: int) -> Any:
    return T5Config(
        vocab_size=len(end_marked(folder)),
        d_model=8 * heads,
        d_kv=8,
        d_ff=48,
        num_layers=layers,
        num_decoder_layers=layers + 1,
        num_heads=heads,
    )


def _bart(folder: Path, layers: int, heads: int) -> Any:
    return BartConfig(
        vocab_size=len(byte_level(folder)),
        d_model=8 * heads,
        encoder_layers=layers,
        decoder_layers=layers + 1,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads // 2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=40,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
    )


def _qwen3_next(folder: Path, layers: int, heads: int) -> Any:
    """Every fourth layer attends; the others are linear."""
    sizes = _bert_like(len(byte_level(folder, special=False)), layers, heads)
    return Qwen3NextConfig(
        **sizes,
        num_key_value_heads=max(1, heads // 2),
        head_dim=8,
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        bos_token_id=0,
        eos_token_id=2,
    )


KINDS: dict[str, Callable[[Path, int, int], Any]] = {
    "albert": _albert,
    "bart": _bart,
    "bert": _bert,
    "deberta-v2": _deberta,
    "distilbert": _distilbert,
    "gpt2": _gpt2,
    "llama": _llama,
    "modernbert": _modernbert,
    "mpnet": _mpnet,
    "qwen3-next": _qwen3_next,
    "roberta": _roberta,
    "t5": _t5,
}


def model_folder(folder: Path, kind: str, *, layers: int = 2, heads: int = 4, sharp: float = 1.0) -> Path:
    """Write a random model of a kind, with its tokenizer.

    `sharp` multiplies the weight matrices, so that heads attend to few tokens and counts vary.
    """
    torch.manual_seed(0)
    model = AutoModel.from_config(KINDS[kind](folder, layers, heads))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim == 2 and "embed" not in name:
                tensor.mul_(sharp)
    model.save_pretrained(folder)
    return folder
