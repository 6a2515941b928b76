"""Small configurations of every causal family that transformers knows, in one table.

`SIZES` says how large what is, whatever family it stands in; `EXCEPTIONS` what a family needs besides, or otherwise.
The models are small enough to be made in milliseconds, and odd enough that mistakes show: windows and chunks are
shorter than the prompts (and longer than what the product probes a network with), logits are scaled and capped, several
kinds of layers stand in one model, experts are chosen.
"""

import dataclasses
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 259
WINDOW = 16
LAYERS = 4

SIZES: dict[str, Any] = {
    # widths
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "embedding_size": 32, "embedding_dim": 32,
    "word_embed_proj_dim": 32, "emb_dim": 32, "input_embedding_size": 32, "output_embedding_size": 32, "lru_width": 32,
    "backbone_hidden_size": 32,
    "intermediate_size": 48, "intermediate_size_mlp": 48, "dense_intermediate_size": 48, "ffn_dim": 48,
    "decoder_ffn_dim": 48, "encoder_ffn_dim": 48, "ffn_hidden_size": 48, "expert_ffn_hidden_size": 24, "n_inner": 48,
    "dff": 48, "dim_ff": 48, "d_inner": 48, "feed_forward_size": 48, "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24, "shared_experts_intermediate_size": 24, "shared_intermediate_size": 24,
    "moe_shared_expert_intermediate_size": 24, "prefix_dense_intermediate_size": 48, "router_hidden_size": 16,
    "hidden_size_per_layer_input": 8, "ple_embed_dim": 32, "prompt_mid_dim": 8,
    # depth
    "num_hidden_layers": LAYERS, "n_layer": LAYERS, "n_layers": LAYERS, "num_layers": LAYERS, "decoder_layers": LAYERS,
    "encoder_layers": LAYERS, "num_decoder_layers": LAYERS, "num_encoder_layers": LAYERS, "num_blocks": LAYERS,
    # heads
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "decoder_attention_heads": 4,
    "encoder_attention_heads": 4, "num_decoder_attention_heads": 4, "num_encoder_attention_heads": 4,
    "attention_heads": 4, "num_key_value_heads": 2, "num_kv_heads": 2, "head_dim": 8, "global_head_dim": 8,
    "attention_head_size": 8, "kv_channels": 8, "rotary_dim": 4, "dim_head": 8, "d_kv": 8, "d_head": 8,
    # latent attention
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "o_lora_rank": 16, "o_groups": 2, "index_head_dim": 16, "index_n_heads": 16, "index_topk": WINDOW,
    # experts
    "num_experts": 4, "n_routed_experts": 4, "num_local_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "num_experts_per_token": 2, "moe_topk": 2, "moe_k": 2, "n_shared_experts": 1, "num_shared_experts": 1,
    "moe_num_shared_experts": 1, "n_group": 1, "topk_group": 1, "num_expert_group": 1, "first_k_dense_replace": 1,
    "num_dense_layers": 1, "moe_layer_start_index": 1, "moe_layer_end_index": LAYERS - 1, "zero_expert_num": 2,
    # windows
    "sliding_window": WINDOW, "window_size": WINDOW, "local_attention": WINDOW, "attention_window_size": WINDOW,
    "attention_chunk_size": WINDOW, "local_attn_chunk_length": WINDOW, "lsh_attn_chunk_length": WINDOW,
    "max_window_layers": 2, "keep_window_size": WINDOW,
    # recurrent states
    "mamba_d_state": 8, "ssm_state_size": 8, "state_size": 8, "mamba_d_conv": 3, "mamba_expand": 2, "mamba_n_heads": 8,
    "mamba_num_heads": 8, "mamba_d_head": 8, "mamba_head_dim": 8, "mamba_headdim": 8, "mamba_d_ssm": 64,
    "mamba_n_groups": 1, "mamba_ngroups": 1, "n_groups": 1, "chunk_size": WINDOW, "mamba_chunk_size": WINDOW,
    "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_head_dim": 8, "linear_num_heads": 4, "time_step_rank": 4, "mamba_dt_rank": 4, "n_mamba_heads": 2,
    # lengths
    "max_position_embeddings": 512, "n_positions": 512, "max_seq_len": 512, "n_ctx": 512, "context_length": 512,
    "max_target_positions": 512, "max_source_positions": 16, "seq_length": 512, "model_max_length": 512,
    # numbers of tokens
    "vocab_size": VOCABULARY, "decoder_vocab_size": VOCABULARY, "vocab_size_per_layer_input": VOCABULARY,
    "type_vocab_size": 2,
    # scales and caps
    "logit_scale": 0.5, "logits_scaling": 2.0, "final_logit_softcapping": 4.0, "attn_logit_softcapping": 3.0,
    "embedding_multiplier": 1.5, "residual_multiplier": 0.7, "attention_multiplier": 0.4, "lm_head_multiplier": 0.6,
    "logits_soft_cap": 4.0, "output_logit_soft_cap": 4.0, "key_multiplier": 0.8,
    "router_scaling_factor": 1.5, "routed_scaling_factor": 1.5,
    # special tokens are the tokenizer's, not a family's own
    "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "forced_eos_token_id": None,
    # encoders that can be decoders as well
    "is_decoder": True, "is_encoder_decoder": False,
}

SLIDING = ["sliding_attention", "full_attention"] * (LAYERS // 2)
MIXED = ["linear_attention", "full_attention"] * (LAYERS // 2)

VISION: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "depth": 1,
    "num_heads": 2, "out_hidden_size": 32, "image_size": 32, "patch_size": 8}


EXCEPTIONS: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"layer_types": MIXED},
    "bamba": {"attn_layer_indices": [1, 3]},
    "cwm": {"bos_token_id": 0},
    "cohere_compass_text": {"layer_types": SLIDING, "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": None}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "clip_qkv": 2.0, "rope_theta": 1e4},
             "ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 32}},
    "dory": {"initializer_range": 1.0, "n_input_layers": 1, "n_recurrent_layers": 2, "n_output_layers": 1,
             "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "full_attention"]},
    "dots3_note_text": {"num_key_value_heads": 4, "layer_types": ["indexed_attention", "full_attention"] * 2},
    "gemma3": {"text_config": {"layer_types": SLIDING}, "vision_config": VISION, "mm_tokens_per_image": 4},
    "gemma3_text": {"layer_types": SLIDING},
    "gemma3n_text": {"num_kv_shared_layers": 2, "layer_types": SLIDING, "laurel_rank": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]]},
    "granitemoehybrid": {"layer_types": MIXED},
    "hrm_text": {"num_hidden_layers": 2, "H_cycles": 2, "L_cycles": 2},
    "inkling_text": {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8,
                     "sliding_window_size": WINDOW, "rel_extent": 20, "d_rel": 4,
                     "layer_types": ["hybrid_sliding", "hybrid"] * 2, "logits_mup_width_multiplier": 0.5,
                     "mlp_layer_types": ["dense", "sparse"] * 2},
    "inkling2_text": {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8,
                      "sliding_window_size": WINDOW, "rel_extent": 20, "d_rel": 4,
                      "layer_types": ["hybrid_sliding", "hybrid"] * 2, "unpadded_vocab_size": VOCABULARY},
    "inkling2_loop_text": {"swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8,
                           "sliding_window_size": WINDOW, "rel_extent": 20, "d_rel": 4,
                           "layer_types": ["hybrid_sliding", "hybrid"] * 2, "unpadded_vocab_size": VOCABULARY,
                           "loop_layer_index_start": 1, "loop_layer_index_end": 3, "loop_num_passes": 2,
                           "loop_gate_rank": 8, "n_layers_per_attn_res_block": 1},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"layer_types": MIXED},
    "kolibri1": {"layer_types": SLIDING},
    "laguna": {"layer_types": SLIDING, "num_attention_heads_per_layer": None},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "minicpm3": {"dim_model_base": 16},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "mellum": {"layer_types": SLIDING},
    "minimax_m3_vl_text": {"index_n_heads": 2, "index_block_size": 4, "index_topk_blocks": 4,
                           "layer_types": ["full_attention", "minimax_m3_sparse"] * 2},
    "ministral": {"layer_types": SLIDING},
    "modernbert-decoder": {"pad_token_id": 0, "bos_token_id": 0, "layer_types": SLIDING, "cls_token_id": 0,
                           "sep_token_id": 0},
    "nemotron_h": {"time_step_min": 1e-9},  # below it transformers' scan clamps time steps, and its steps do not
    "qwen2": {"use_sliding_window": True},
    "qwen2_moe": {"use_sliding_window": True},
    "qwen3": {"use_sliding_window": True},
    "qwen4_exp_text": {"ngram_vocab_size_base": 100, "split_ngram_parts": 2, "ple_layer_ids": [1], "hc_lowrank": 8,
                       "indexer_n_heads": 16, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": WINDOW,
                       "indexer_compress_ratio": 4, "heads_per_ngram": 2},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "reformer": {"attn_layers": ["local", "lsh"] * 2, "axial_pos_shape": [16, 32], "axial_pos_embds_dim": [16, 16],
                 "num_buckets": 4, "hash_seed": 1},
    "roc_bert": {"shape_vocab_size": 300, "pronunciation_vocab_size": 300, "shape_embed_dim": 8,
                 "pronunciation_embed_dim": 8},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128},  # widths of its heads are rounded up to 64
    "zamba": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "attention_hidden_size": 64,
              "attention_head_dim": 16},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2, "use_mem_rope": True,
               "use_shared_attention_adapter": True, "adapter_rank": 4, "time_step_min": 1e-9,
               "num_key_value_heads": 4},
    "zaya": {"num_experts_per_tok": 1, "layer_types": ["hybrid", "hybrid_sliding"] * 2},
}
"""What a family needs beside `SIZES`, or otherwise."""

MULTIMODAL = "reads images or sound as well; has no small configuration here"

NOT_BUILT: dict[str, str] = {
    "blt": "makes tokens of bytes with a network of its own, and has no small configuration here",
    "dots3_note": MULTIMODAL, "emu3": MULTIMODAL, "fuyu": MULTIMODAL, "gemma3n": "its image encoder needs timm",
    "gemma4": MULTIMODAL, "gemma4_unified": MULTIMODAL, "got_ocr2": MULTIMODAL, "llama4": MULTIMODAL,
    "mllama": MULTIMODAL, "moshi": MULTIMODAL, "moss_transcribe_diarize": MULTIMODAL, "musicgen": MULTIMODAL,
    "musicgen_melody": MULTIMODAL, "phi4_multimodal": MULTIMODAL, "qwen4_exp": MULTIMODAL,
    "gemma4_assistant": "guesses ahead for another model",
    "gemma4_unified_assistant": "guesses ahead for another model",
}
"""Families that are not tried, and why. The language models of most stand in rows of their own."""

FAMILIES = sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - NOT_BUILT.keys())


def small_configuration(family: str, **tokens: int) -> PreTrainedConfig:
    """A family's configuration at these sizes; `tokens`: ids of special tokens."""
    kind = CONFIG_MAPPING[family]
    settings = _settings(kind, EXCEPTIONS.get(family, {}))
    return kind(**settings | tokens)


def _settings(kind: type[PreTrainedConfig], exceptions: dict[str, Any]) -> dict[str, Any]:
    """The sizes of what a kind of configuration has, those inside it included."""
    names = {field.name for field in dataclasses.fields(kind)}
    settings = {name: value for name, value in SIZES.items() if name in names}
    if "kv_lora_rank" in names:  # latent attention has a key for each head
        settings["num_key_value_heads"] = settings["num_attention_heads"]
    for name, inner in kind.sub_configs.items():
        if dataclasses.is_dataclass(inner):
            settings[name] = _settings(inner, exceptions.get(name, {}))
    return settings | {name: value for name, value in exceptions.items()
                       if not (name in kind.sub_configs and name in settings)}
