"""Write the trained network as a Hugging Face folder: weights, tokenizer, template, facts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from quantswarm.models.train.corpus import ASSISTANT, END_OF_TEXT, END_OF_TURN, USER
from quantswarm.models.train.network import Llama, Shape

HELD_OUT_SHIPPED_BYTES = 262_144

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + "\n"
    "{% else %}" + USER + "\n{% endif %}"
    "{{ message['content'] }}" + END_OF_TURN + "\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "\n{% endif %}"
)


def config_of(shape: Shape, tokenizer: Tokenizer) -> dict[str, Any]:
    """`config.json` as transformers' LlamaForCausalLM reads it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": shape.positions,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.norm_epsilon,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": tokenizer.token_to_id(END_OF_TEXT),
        "eos_token_id": [tokenizer.token_to_id(END_OF_TEXT), tokenizer.token_to_id(END_OF_TURN)],
        "torch_dtype": "bfloat16",
    }


def tokenizer_config(shape: Shape) -> dict[str, Any]:
    """`tokenizer_config.json`: no BOS is added, the template is the file's own."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": shape.positions,
        "chat_template": CHAT_TEMPLATE,
    }


def checkpoint_name(name: str) -> str:
    """A parameter's name in transformers' LlamaForCausalLM."""
    return name if name.startswith("lm_head") else f"model.{name}"


def export(
    model: Llama,
    tokenizer: Tokenizer,
    held_out: Sequence[str],
    facts: dict[str, Any],
    out: Path,
) -> None:
    """Write the folder `models/tiny` is a copy of."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        checkpoint_name(name): value.detach().to(torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(out / "tokenizer.json"))
    config = config_of(model.shape, tokenizer)
    _write(out / "config.json", config)
    _write(out / "tokenizer_config.json", tokenizer_config(model.shape))
    _write(
        out / "generation_config.json",
        {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]},
    )
    _write(out / "training.json", facts)
    text = "\n".join(held_out).encode()[:HELD_OUT_SHIPPED_BYTES]
    (out / "held_out.txt").write_bytes(text.decode(errors="ignore").encode())


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
