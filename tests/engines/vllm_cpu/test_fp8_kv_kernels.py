"""The e4m3 cache: codes to the last bit, attention against float64 over the rounded numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantswarm.engines.vllm_cpu import fp8_kv_torch, kernels
from quantswarm.engines.vllm_cpu.fp8_kv_torch import Reading

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
E4M3 = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
FINITE = E4M3[E4M3.isfinite()].unique()


@pytest.fixture(scope="module", params=["compiled", "torch"])
def how(request):
    if request.param == "torch":
        return SimpleNamespace(
            write=fp8_kv_torch.write, rounded=fp8_kv_torch.rounded, attend=fp8_kv_torch.attend
        )
    kernels.load(request.getfixturevalue("library"))
    return SimpleNamespace(
        write=kernels.fp8_kv_write, rounded=kernels.fp8_kv_round, attend=kernels.fp8_kv_attend
    )


def nearest(x):
    """The e4m3 value nearest to each number, ties to an even code, by looking at all of them."""
    wide = x.double().flatten()
    high = torch.searchsorted(FINITE, wide.float()).clamp(1, len(FINITE) - 1)
    below, above = FINITE[high - 1].double(), FINITE[high].double()
    up = (above - wide) < (wide - below)
    tie = (above - wide) == (wide - below)
    even = above.float().to(torch.float8_e4m3fn).view(torch.uint8) % 2 == 0
    return torch.where(up | (tie & even), above, below).view(x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_is_rounded_to_the_nearest(how, dtype):
    between = (FINITE[1:] + FINITE[:-1]) / 2
    hard = torch.cat([FINITE, between, torch.randn(2048), torch.randn(2048) * 200])
    x = torch.cat([hard, hard.nextafter(hard + 1), hard.nextafter(hard - 1)])
    x = torch.nn.functional.pad(x, (0, -len(x) % 8)).clamp(-448, 448).to(dtype)
    assert torch.equal(how.rounded(x, 1.0).double(), nearest(x))


def test_numbers_beyond_the_largest_become_it(how):
    x = torch.tensor([449.0, 1e9, float("inf"), -1e4, -float("inf"), 464.0, 0.0, -0.0])
    assert how.rounded(x, 1.0).tolist() == [448, 448, 448, -448, -448, 448, 0, 0]


def test_a_scale_divides(how):
    x = torch.randn(64) * 5
    assert torch.equal(how.rounded(x, 0.5), how.rounded(x * 2, 1.0))


def made(dtype, *, lengths, queries, heads, kv_heads, size, block=32, seed=0):
    """A cache written token by token in shuffled blocks; queries that end at each length."""
    torch.manual_seed(seed)
    need = [-(-length // block) for length in lengths]
    order = torch.randperm(sum(need) + 2)
    table = torch.zeros(len(lengths), max(need), dtype=torch.int32)
    slots = []
    for i, length in enumerate(lengths):
        table[i, : need[i]] = order[sum(need[:i]) : sum(need[: i + 1])]
        at = torch.arange(length)
        slots.append(table[i, at // block].long() * block + at % block)
    tokens = sum(lengths)
    key, value = (torch.randn(tokens, kv_heads, size).to(dtype) for _ in range(2))
    return SimpleNamespace(
        cache=torch.randint(0, 256, (len(order), kv_heads, block, 2 * size), dtype=torch.uint8),
        key=key,
        value=value,
        slots=torch.cat(slots),
        query=torch.randn(sum(queries), heads, size).to(dtype),
        query_start=torch.tensor([0, *torch.tensor(queries).cumsum(0)], dtype=torch.int32),
        lengths=torch.tensor(lengths, dtype=torch.int32),
        table=table,
    )


def expected(case, *, scale, key_scale, value_scale, window, softcap, sinks):
    """In float64, from the keys and values themselves and without a cache."""
    out, group, done = [], case.query.shape[1] // case.key.shape[1], 0
    for i, length in enumerate(case.lengths.tolist()):
        k = nearest((case.key[done : done + length].float() / key_scale).clamp(-448, 448))
        v = nearest((case.value[done : done + length].float() / value_scale).clamp(-448, 448))
        done += length
        q = case.query[case.query_start[i] : case.query_start[i + 1]].double()
        for n in range(len(q)):
            last = length - len(q) + n
            first = max(0, last + 1 - window) if window > 0 else 0
            keys = (k[first : last + 1] * key_scale).repeat_interleave(group, 1)
            values = (v[first : last + 1] * value_scale).repeat_interleave(group, 1)
            scores = torch.einsum("hd,khd->hk", q[n], keys) * scale
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            if sinks is not None:
                scores = torch.cat([scores, sinks.double()[:, None]], 1)
            weights = torch.softmax(scores, -1)[:, : keys.shape[0]]
            out.append(torch.einsum("hk,khd->hd", weights, values))
    return torch.stack(out)


def attended(how, case, **kind):
    how.write(case.key, case.value, case.cache, case.slots, kind["key_scale"], kind["value_scale"])
    out = torch.full_like(case.query, float("nan"))
    reading = Reading(query_start=case.query_start, lengths=case.lengths, table=case.table, **kind)
    how.attend(case.query, case.cache, out, reading)
    return out


PLAIN = {
    "scale": 0.125,
    "key_scale": 1.0,
    "value_scale": 1.0,
    "window": -1,
    "softcap": 0.0,
    "sinks": None,
}
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3, torch.float16: 1e-3}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("lengths", "queries"),
    [([1], [1]), ([32, 33], [1, 1]), ([100, 7, 64], [100, 1, 30]), ([300], [1]), ([65, 5], [0, 5])],
)
def test_attention_is_that_over_the_rounded_cache(how, dtype, lengths, queries):
    case = made(dtype, lengths=lengths, queries=queries, heads=4, kv_heads=2, size=64)
    error = (attended(how, case, **PLAIN).double() - expected(case, **PLAIN)).abs().max()
    assert error < TOLERANCE[dtype]


@pytest.mark.parametrize(
    "kind",
    [
        {"window": 40},
        {"window": 1},
        {"softcap": 2.0},
        {"sinks": torch.tensor([0.5, -1.0, 3.0, 0.0])},
        {"key_scale": 0.37, "value_scale": 2.5},
    ],
    ids=str,
)
def test_kinds_of_attention(how, kind):
    case = made(torch.float32, lengths=[90, 33], queries=[50, 1], heads=4, kv_heads=2, size=32)
    wanted = PLAIN | kind
    error = (attended(how, case, **wanted).double() - expected(case, **wanted)).abs().max()
    assert error < 5e-6


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kv_heads=st.integers(1, 3),
    group=st.integers(1, 9),
    size=st.sampled_from([32, 64, 80, 128]),
    block=st.sampled_from([32, 64, 128]),
    requests=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
)
def test_any_shape(how, kv_heads, group, size, block, requests, seed):
    lengths = [length for length, _ in requests]
    queries = [min(length, count) for length, count in requests]
    case = made(
        torch.float32,
        lengths=lengths,
        queries=queries,
        heads=kv_heads * group,
        kv_heads=kv_heads,
        size=size,
        block=block,
        seed=seed,
    )
    error = (attended(how, case, **PLAIN).double() - expected(case, **PLAIN)).abs().max()
    assert error < 5e-6


def test_both_ways_leave_the_same_bytes(library):
    kernels.load(library)
    case = made(torch.bfloat16, lengths=[70], queries=[1], heads=2, kv_heads=2, size=64)
    caches = [case.cache.clone(), case.cache.clone()]
    case.slots[5] = -1  # padding
    for write, cache in zip((kernels.fp8_kv_write, fp8_kv_torch.write), caches, strict=True):
        write(case.key * 100, case.value, cache, case.slots, 1.0, 1.0)
    assert torch.equal(*caches)


def test_tokens_of_a_joined_projection_are_read_where_they_lie(library):
    """vLLM cuts queries, keys and values out of one tensor: their tokens are far apart."""
    kernels.load(library)
    case = made(torch.float32, lengths=[9], queries=[1], heads=2, kv_heads=2, size=32)
    joined = torch.cat([case.key, case.value], dim=1)
    key, value = joined.split(2, dim=1)
    caches = [case.cache.clone(), case.cache.clone()]
    kernels.fp8_kv_write(key, value, caches[0], case.slots, 1.0, 1.0)
    kernels.fp8_kv_write(case.key, case.value, caches[1], case.slots, 1.0, 1.0)
    assert torch.equal(*caches)


def test_what_would_be_read_out_of_bounds_is_refused(library):
    kernels.load(library)
    case = made(torch.float32, lengths=[9], queries=[1], heads=2, kv_heads=2, size=32)
    with pytest.raises(RuntimeError, match="head_size"):
        kernels.fp8_kv_write(case.key[..., :16], case.value, case.cache, case.slots, 1.0, 1.0)
    with pytest.raises(RuntimeError, match="bytes"):
        kernels.fp8_kv_write(case.key, case.value, case.cache.float(), case.slots, 1.0, 1.0)
