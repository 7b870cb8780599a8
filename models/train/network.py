"""A Llama in plain PyTorch, small enough to read, its parameters named as in transformers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Dimensions; every width is a multiple of 256, so that each quantization format divides it."""

    vocabulary: int = 2048
    width: int = 256
    feed_forward: int = 768
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 64
    positions: int = 2048
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q_proj = nn.Linear(shape.width, shape.heads * shape.head_size, bias=False)
        self.k_proj = nn.Linear(shape.width, shape.kv_heads * shape.head_size, bias=False)
        self.v_proj = nn.Linear(shape.width, shape.kv_heads * shape.head_size, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head_size, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x: [batch, length, width]; cos, sin: [length, head_size]."""
        batch, length, _ = x.shape
        query = self._split(self.q_proj(x), self.shape.heads)
        key = self._split(self.k_proj(x), self.shape.kv_heads)
        value = self._split(self.v_proj(x), self.shape.kv_heads)
        repeats = self.shape.heads // self.shape.kv_heads
        mixed = functional.scaled_dot_product_attention(
            rotate(query, cos, sin),
            rotate(key, cos, sin).repeat_interleave(repeats, dim=1),
            value.repeat_interleave(repeats, dim=1),
            is_causal=True,
        )
        return torch.as_tensor(self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1)))

    def _split(self, x: Tensor, heads: int) -> Tensor:
        return x.view(*x.shape[:2], heads, self.shape.head_size).transpose(1, 2)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x)))


class Block(nn.Module):
    """One decoder layer, pre-norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return torch.as_tensor(x + self.mlp(self.post_attention_layernorm(x)))


class Llama(nn.Module):
    """Token ids [batch, length] in, logits [batch, length, vocabulary] out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=shape.norm_epsilon)
        self.lm_head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        self.apply(_initialise)

    def forward(self, ids: Tensor) -> Tensor:
        cos, sin = rotary_tables(self.shape, ids.shape[1])
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return torch.as_tensor(self.lm_head(self.norm(x)))


def rotary_tables(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each [length, head_size], in transformers' half-split order."""
    exponent = torch.arange(0, shape.head_size, 2, dtype=torch.float32) / shape.head_size
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_theta**-exponent)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x: [batch, heads, length, head_size]."""
    first, second = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
