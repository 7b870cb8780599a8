"""The e4m3 key-value cache in plain PyTorch: what serves without a compiled library, and the tests'
reference for the compiled one.

Both write bytes in the same order (csrc/fp8_kv.h): of each block and head first the keys, eight
tokens side by side, then the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LARGEST = 448.0
"""Of e4m3. Larger numbers become it: PyTorch's own conversion would make them NaN."""

_TOGETHER = 8  # tokens whose keys lie side by side


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One attention over the cache: the step's requests, and how its scores are made.

    `query_start` [requests + 1] cuts the queries, `lengths` [requests] counts tokens in the cache,
    `table` [requests, blocks] names their blocks. `window` -1 and `softcap` 0 mean none; `sinks`
    holds a score for each query head that takes part in the sum and has no value.
    """

    query_start: torch.Tensor
    lengths: torch.Tensor
    table: torch.Tensor
    scale: float
    key_scale: float = 1.0
    value_scale: float = 1.0
    window: int = -1
    softcap: float = 0.0
    sinks: torch.Tensor | None = None


def rounded(x: torch.Tensor, scale: float) -> torch.Tensor:
    """`x / scale` rounded to the nearest e4m3 value, ties to even, in `x`'s type."""
    return _codes(x, scale).to(x.dtype)


def write(
    key: torch.Tensor,
    value: torch.Tensor,
    cache: torch.Tensor,
    slots: torch.Tensor,
    key_scale: float,
    value_scale: float,
) -> None:
    """Store each token at its slot (block times block size, plus place); a slot of -1 is none."""
    import torch

    keys, values = _halves(cache)
    tokens = torch.nonzero(slots >= 0).flatten()
    block = slots[tokens] // cache.shape[2]
    group, lane = (
        slots[tokens] % cache.shape[2] // _TOGETHER,
        slots[tokens] % _TOGETHER,
    )
    keys[block, :, group, :, lane] = _codes(key[tokens], key_scale).view(torch.uint8)
    place = slots[tokens] % cache.shape[2]
    values[block, :, place] = _codes(value[tokens], value_scale).view(torch.uint8)


def attend(query: torch.Tensor, cache: torch.Tensor, out: torch.Tensor, how: Reading) -> None:
    """Causal attention of each request's queries over its tokens in the cache, in float32."""
    for i, length in enumerate(how.lengths.tolist()):
        begin, end = how.query_start[i : i + 2].tolist()
        if begin == end:
            continue
        keys, values = _read(cache, how.table[i], length)
        seen = _attended(query[begin:end].float(), keys, values, how)
        out[begin:end] = seen.to(out.dtype)


def _codes(x: torch.Tensor, scale: float) -> torch.Tensor:
    import torch

    return (x.float() / scale).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)


def _halves(cache: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of bytes: [blocks, heads, tokens / 8, size, 8] and [blocks, heads, tokens, size]."""
    import torch

    blocks, heads, tokens, both = cache.shape
    flat = cache.view(torch.uint8).view(blocks, heads, 2, tokens * both // 2)
    keys = flat[:, :, 0].view(blocks, heads, tokens // _TOGETHER, both // 2, _TOGETHER)
    return keys, flat[:, :, 1].view(blocks, heads, tokens, both // 2)


def _read(
    cache: torch.Tensor, table: torch.Tensor, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of one request, [heads, tokens, size] in float32."""
    import torch

    keys, values = _halves(cache)
    used = table[: -(-length // cache.shape[2])].long()
    k = keys[used].permute(1, 0, 2, 4, 3).reshape(cache.shape[1], -1, cache.shape[3] // 2)
    v = values[used].permute(1, 0, 2, 3).reshape(cache.shape[1], -1, cache.shape[3] // 2)
    wide = (half[:, :length].view(torch.float8_e4m3fn).float() for half in (k, v))
    return next(wide), next(wide)


def _attended(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, how: Reading
) -> torch.Tensor:
    import torch

    group = query.shape[1] // keys.shape[0]
    k, v = (x.repeat_interleave(group, dim=0) for x in (keys, values))
    scores = torch.einsum("qhd,hkd->hqk", query, k) * (how.scale * how.key_scale)
    if how.softcap > 0:
        scores = how.softcap * torch.tanh(scores / how.softcap)
    at = torch.arange(keys.shape[1])
    own = at[-query.shape[0] :, None]
    hidden = at > own
    if how.window > 0:
        hidden |= at <= own - how.window
    scores = scores.masked_fill(hidden, float("-inf"))
    if how.sinks is not None:
        sink = how.sinks.float()[:, None, None].expand(-1, query.shape[0], 1)
        scores = torch.cat((scores, sink), dim=-1)
    weights = torch.softmax(scores, dim=-1)[..., : keys.shape[1]]
    return torch.einsum("hqk,hkd->qhd", weights, v) * how.value_scale
