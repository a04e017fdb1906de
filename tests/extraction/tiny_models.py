"""Tiny randomly initialised models of every architecture, made from their configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    BambaConfig,
    BartConfig,
    BertConfig,
    BigBirdConfig,
    BigBirdPegasusConfig,
    BloomConfig,
    CLIPConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    DebertaConfig,
    DebertaV2Config,
    DeepseekV3Config,
    DeepseekV32Config,
    DistilBertConfig,
    ElectraConfig,
    EsmConfig,
    FalconConfig,
    FalconH1Config,
    FlaubertConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GptOssConfig,
    GraniteSWAConfig,
    Idefics3Config,
    JambaConfig,
    LayoutLMv3Config,
    Lfm2Config,
    Llama4Config,
    Llama4TextConfig,
    Llama4VisionConfig,
    LlamaConfig,
    LlavaConfig,
    LukeConfig,
    LxmertConfig,
    MarkupLMConfig,
    Mistral3Config,
    MistralConfig,
    ModernBertConfig,
    MPNetConfig,
    MptConfig,
    NemotronHConfig,
    Phi3Config,
    PixtralVisionConfig,
    Qwen2_5_VLConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3NextConfig,
    RobertaConfig,
    RobertaPreLayerNormConfig,
    SiglipConfig,
    SiglipTextConfig,
    SiglipVisionConfig,
    T5Config,
    ViltConfig,
    ViTConfig,
    XLMRobertaConfig,
    XLNetConfig,
    XmodConfig,
    Zamba2Config,
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

_VISION = {**_TOWER, **_IMAGE}
del _VISION["initializer_factor"]
_ROPE: dict[str, Any] = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
_ENCODER_DECODER: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "init_std": 0.4,
}
_LATENT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.4,
}
_MAMBA: dict[str, Any] = {"mamba_d_state": 4, "mamba_n_groups": 1, "mamba_chunk_size": 8, "mamba_d_head": 8}

# Models whose reading depends on more than their tokens: on the batch, on the length, on other modules or inputs.
HARD_CONFIGS: dict[str, Callable[[], Any]] = {
    "phi3-longrope": lambda: Phi3Config(
        **{**DECODER, "num_key_value_heads": 4},
        original_max_position_embeddings=16,
        rope_parameters={
            "rope_type": "longrope",
            "short_factor": [1.0] * 4,
            "long_factor": [4.0] * 4,
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 16,
        },
        bos_token_id=1,
        eos_token_id=2,
    ),
    "llama-dynamic": lambda: LlamaConfig(
        **{**DECODER, "max_position_embeddings": 16},
        rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    ),
    "bigbird": lambda: BigBirdConfig(
        **{**BERT_LIKE, "max_position_embeddings": 256}, block_size=4, num_random_blocks=2
    ),
    "bigbird-pegasus": lambda: BigBirdPegasusConfig(
        **_ENCODER_DECODER, max_position_embeddings=256, block_size=4, num_random_blocks=2
    ),
    "deepseek-v3": lambda: DeepseekV3Config(**_LATENT),
    "deepseek-v32": lambda: DeepseekV32Config(**_LATENT, index_topk=12, index_n_heads=2, index_head_dim=16),
    "qwen3-next": lambda: Qwen3NextConfig(
        **{**DECODER, "num_hidden_layers": 8},
        linear_num_value_heads=4,
        linear_num_key_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    ),
    "jamba": lambda: JambaConfig(
        **{**DECODER, "num_hidden_layers": 6},
        attn_layer_period=3,
        attn_layer_offset=1,
        num_experts=2,
        expert_layer_period=2,
        use_mamba_kernels=False,
        mamba_d_state=4,
        mamba_dt_rank=4,
    ),
    "zamba2": lambda: Zamba2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=6,
        num_attention_heads=4,
        layers_block_type=["mamba", "hybrid", "mamba", "mamba", "hybrid", "mamba"],
        use_mamba_kernels=False,
        n_mamba_heads=4,
        mamba_headdim=16,
        mamba_ngroups=1,
        mamba_d_state=4,
        initializer_range=0.4,
        adapter_rank=4,
        chunk_size=8,
    ),
    "falcon-h1": lambda: FalconH1Config(**DECODER, **_MAMBA, mamba_d_ssm=32, mamba_n_heads=4),
    "bamba": lambda: BambaConfig(
        **{**DECODER, "num_hidden_layers": 4}, **_MAMBA, attn_layer_indices=[1, 3], mamba_n_heads=8
    ),
    "lfm2": lambda: Lfm2Config(
        **{**DECODER, "num_hidden_layers": 4}, layer_types=["conv", "full_attention", "conv", "full_attention"]
    ),
    "nemotron-h": lambda: NemotronHConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        layers_block_type=["mamba", "attention", "moe", "mamba", "attention"],
        mamba_num_heads=4,
        mamba_head_dim=16,
        ssm_state_size=4,
        n_groups=1,
        chunk_size=8,
    ),
    "xmod": lambda: XmodConfig(**BERT_LIKE, pad_token_id=1, default_language="en_XX", languages=["en_XX"]),
    "roberta-prelayernorm": lambda: RobertaPreLayerNormConfig(**BERT_LIKE, pad_token_id=1),
    "luke": lambda: LukeConfig(**BERT_LIKE, pad_token_id=1, entity_vocab_size=10, entity_emb_size=16),
    "esm": lambda: EsmConfig(**BERT_LIKE, pad_token_id=0, position_embedding_type="absolute", mask_token_id=4),
    "esm-rotary": lambda: EsmConfig(**BERT_LIKE, pad_token_id=0, position_embedding_type="rotary", mask_token_id=4),
    "markuplm": lambda: MarkupLMConfig(**BERT_LIKE, pad_token_id=1),
    "bloom": lambda: BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.4),
    "mpt": lambda: MptConfig(vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
    "falcon-alibi": lambda: FalconConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True
    ),
    "flaubert": lambda: FlaubertConfig(
        vocab_size=VOCABULARY, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=64, pad_token_id=0
    ),
    "xlnet": lambda: XLNetConfig(
        vocab_size=VOCABULARY, d_model=32, n_layer=3, n_head=4, d_inner=48, initializer_range=0.4
    ),
    "deberta": lambda: DebertaConfig(
        **BERT_LIKE, relative_attention=True, pos_att_type=["p2c", "c2p"], max_relative_positions=16
    ),
    "gpt-oss": lambda: GptOssConfig(
        **{**DECODER, "num_hidden_layers": 4},
        num_local_experts=2,
        num_experts_per_tok=1,
        sliding_window=5,
        layer_types=["sliding_attention", "full_attention"] * 2,
    ),
    "granite-swa": lambda: GraniteSWAConfig(**DECODER, sliding_window=5, attention_multiplier=0.3),
    "gemma3-images": lambda: Gemma3Config(
        text_config=Gemma3TextConfig(**DECODER, sliding_window=5, query_pre_attn_scalar=8).to_dict(),
        vision_config=SiglipVisionConfig(**_VISION).to_dict(),
        mm_tokens_per_image=4,
        image_token_index=59,
        boi_token_index=58,
        eoi_token_index=57,
    ),
    "mistral3": lambda: Mistral3Config(
        text_config=MistralConfig(**DECODER).to_dict(),
        vision_config=PixtralVisionConfig(**_VISION, head_dim=8).to_dict(),
        image_token_index=59,
    ),
    "llava": lambda: LlavaConfig(
        text_config=LlamaConfig(**DECODER).to_dict(),
        vision_config=CLIPVisionConfig(**_VISION).to_dict(),
        image_token_index=59,
    ),
    "llama4": lambda: Llama4Config(
        text_config=Llama4TextConfig(
            **{**DECODER, "num_hidden_layers": 4}, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=8
        ).to_dict(),
        vision_config=Llama4VisionConfig(
            **_VISION, vision_output_dim=32, projector_input_dim=32, projector_output_dim=32
        ).to_dict(),
    ),
    "qwen2.5-vl": lambda: Qwen2_5_VLConfig(
        text_config={**DECODER, "rope_parameters": _ROPE},
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "num_heads": 4,
            "intermediate_size": 48,
            "patch_size": 8,
            "fullatt_block_indexes": [1],
            "window_size": 16,
        },
        image_token_id=59,
        video_token_id=58,
        vision_start_token_id=57,
        vision_end_token_id=56,
    ),
    "idefics3": lambda: Idefics3Config(
        text_config=LlamaConfig(**DECODER).to_dict(), vision_config=_VISION, image_token_id=59
    ),
    "siglip": lambda: SiglipConfig(
        text_config=SiglipTextConfig(**BERT_LIKE).to_dict(), vision_config=SiglipVisionConfig(**_VISION).to_dict()
    ),
    "layoutlmv3": lambda: LayoutLMv3Config(
        **BERT_LIKE, coordinate_size=4, shape_size=8, input_size=16, patch_size=8, pad_token_id=1
    ),
    "vilt": lambda: ViltConfig(**BERT_LIKE, **_IMAGE),
}


def tiny_model(name: str, seed: int = 0) -> Any:
    """Make a model of an architecture with random weights, sharp enough that counts vary."""
    torch.manual_seed(seed)
    config = (CONFIGS.get(name) or HARD_CONFIGS[name])()
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter, tensor in model.named_parameters():
            if parameter.endswith("sinks"):  # learned sinks begin at zero, or so small that they do not tell
                tensor.normal_(0.0, 2.0)
    return model
