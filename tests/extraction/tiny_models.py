"""Tiny randomly initialised models of every architecture, made from their configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    BartConfig,
    BertConfig,
    CLIPConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    LxmertConfig,
    ModernBertConfig,
    MPNetConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    ViTConfig,
    XLMRobertaConfig,
)

VOCABULARY = 60

BERT_LIKE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
}
DECODER: dict[str, Any] = {**BERT_LIKE, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_factor": 20.0,
}
_IMAGE: dict[str, Any] = {"image_size": 16, "patch_size": 8}

CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: BertConfig(**BERT_LIKE),
    "albert": lambda: AlbertConfig(**BERT_LIKE, embedding_size=16, num_hidden_groups=1),
    "roberta": lambda: RobertaConfig(**BERT_LIKE, pad_token_id=1),
    "xlm-roberta": lambda: XLMRobertaConfig(**BERT_LIKE, pad_token_id=1),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=32,
        hidden_dim=48,
        n_layers=3,
        n_heads=4,
        max_position_embeddings=64,
        initializer_range=0.4,
    ),
    "electra": lambda: ElectraConfig(**BERT_LIKE, embedding_size=16),
    "mpnet": lambda: MPNetConfig(**BERT_LIKE),
    "deberta-v2": lambda: DebertaV2Config(
        **BERT_LIKE, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=16
    ),
    "modernbert": lambda: ModernBertConfig(
        **{**BERT_LIKE, "num_hidden_layers": 4},
        local_attention=6,
        global_attn_every_n_layers=3,
        pad_token_id=0,
        cls_token_id=1,
        sep_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
    ),
    "t5": lambda: T5Config(
        vocab_size=VOCABULARY,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=4,
        initializer_factor=3.0,
    ),
    "bart": lambda: BartConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=4,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=64,
        init_std=0.4,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=3, n_head=4, n_positions=64, initializer_range=0.4
    ),
    "llama": lambda: LlamaConfig(**DECODER),
    "qwen2": lambda: Qwen2Config(**DECODER, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "qwen3": lambda: Qwen3Config(**DECODER),
    "gemma": lambda: GemmaConfig(**DECODER),
    "gemma2": lambda: Gemma2Config(**DECODER, sliding_window=5, attn_logit_softcapping=2.0, query_pre_attn_scalar=8),
    "gemma3": lambda: Gemma3TextConfig(**DECODER, sliding_window=5, query_pre_attn_scalar=8),
    "vit": lambda: ViTConfig(**{**_TOWER, **_IMAGE, "initializer_range": 0.4}),
    "clip": lambda: CLIPConfig(
        text_config=CLIPTextConfig(
            **{**_TOWER, "num_hidden_layers": 3}, vocab_size=VOCABULARY, max_position_embeddings=64
        ).to_dict(),
        vision_config=CLIPVisionConfig(**_TOWER, **_IMAGE).to_dict(),
    ),
    "lxmert": lambda: LxmertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_attention_heads=4,
        intermediate_size=48,
        l_layers=3,
        r_layers=2,
        x_layers=2,
        visual_feat_dim=10,
        visual_pos_dim=4,
        max_position_embeddings=64,
        initializer_range=0.4,
    ),
}


def tiny_model(name: str, seed: int = 0) -> Any:
    """Make a model of an architecture with random weights, sharp enough that counts vary."""
    torch.manual_seed(seed)
    return AutoModel.from_config(CONFIGS[name](), attn_implementation="eager").eval()
