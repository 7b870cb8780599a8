"""Bytes and bits by part: scales count with their weights, and nothing is counted twice."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.models import part_sizes, shapes, weight_parts
from quantswarm.models.part_sizes import PartSize, bits_per_weight, sizes
from quantswarm.models.planned_weights import of_shape
from quantswarm.models.safetensors_file import ELEMENT_BYTES, Entry
from quantswarm.models.weight_parts import BESIDE_KINDS, COMPONENTS, OTHER, Part

LAYER = "model.layers.0.mlp.up_proj"


def entry(name: str, dtype: str, *shape: int) -> Entry:
    made = Entry(path=Path("f"), name=name, dtype=dtype, shape=shape, start=0, end=0)
    return Entry(
        path=made.path,
        name=name,
        dtype=dtype,
        shape=shape,
        start=0,
        end=made.elements * ELEMENT_BYTES[dtype],
    )


def of(*tensors: Entry, **config: Any) -> dict[tuple[str, str], PartSize]:
    folder: Any = SimpleNamespace(config=config, tensors=tensors)
    found = sizes(weight_parts.of_folder(folder).parts)
    assert sum(size.size_bytes for size in found) == sum(t.end for t in tensors)
    return {(size.part, size.dtype): size for size in found}


def test_scales_zeros_and_order_count_with_the_weights_of_a_group() -> None:
    """GPTQ, 256 × 512 in groups of 128: 4 bits, a scale and a zero for 128, an index a row."""
    found = of(
        entry(f"{LAYER}.qweight", "I32", 32, 512),
        entry(f"{LAYER}.scales", "F16", 2, 512),
        entry(f"{LAYER}.qzeros", "I32", 2, 64),
        entry(f"{LAYER}.g_idx", "I32", 256),
        entry("lm_head.weight", "F16", 100, 256),
    )
    assert set(found) == {("linear", "int4"), ("lm_head", "float16")}
    linear = found["linear", "int4"]
    assert linear.parameters == 256 * 512
    assert linear.bits_per_weight == pytest.approx(4 + (16 + 4) / 128 + 32 / 512)
    assert not linear.plain
    assert found["lm_head", "float16"].bits_per_weight == 16


def test_compressed_tensors_and_a_bias_that_stays() -> None:
    found = of(
        entry(f"{LAYER}.weight_packed", "I32", 512, 32),
        entry(f"{LAYER}.weight_scale", "BF16", 512, 2),
        entry(f"{LAYER}.weight_shape", "I64", 2),
        entry(f"{LAYER}.bias", "BF16", 512),
    )
    assert found["linear", "int4"].parameters == 256 * 512
    assert found["linear", "bfloat16"].parameters == 512
    assert found["linear", "bfloat16"].plain


def test_bitsandbytes_packs_two_weights_into_a_byte() -> None:
    found = of(
        entry(f"{LAYER}.weight", "U8", 256 * 512 // 2, 1),
        entry(f"{LAYER}.weight.absmax", "U8", 2048),
        entry(f"{LAYER}.weight.nested_absmax", "F32", 8),
        entry(f"{LAYER}.weight.quant_map", "F32", 16),
        entry(f"{LAYER}.weight.quant_state.bitsandbytes__nf4", "U8", 90),
    )
    assert set(found) == {("linear", "nf4")}
    assert found["linear", "nf4"].parameters == 256 * 512
    assert 4 < (found["linear", "nf4"].bits_per_weight or 0) < 4.2


def test_tied_embeddings_are_one_part_that_says_so() -> None:
    found = of(
        entry("model.embed_tokens.weight", "BF16", 100, 8), entry(f"{LAYER}.weight", "I8", 8, 8)
    )
    assert set(found) == {("embeddings", "bfloat16"), ("linear", "int8")}
    assert found["embeddings", "bfloat16"].tied
    assert not found["linear", "int8"].tied


def test_gpt2s_names_are_known_and_its_positions_are_no_embeddings_of_tokens() -> None:
    found = of(
        entry("transformer.wte.weight", "F32", 100, 8),
        entry("transformer.wpe.weight", "F32", 16, 8),
        entry("transformer.h.0.attn.c_attn.weight", "F32", 8, 24),
        entry("transformer.h.0.attn.c_attn.bias", "F32", 24),
        entry("transformer.h.0.attn.bias", "U8", 1, 1, 16, 16),
        entry("transformer.h.0.ln_1.weight", "F32", 8),
        entry("transformer.ln_f.bias", "F32", 8),
        n_layer=1,
        n_head=2,
        n_embd=8,
    )
    assert found["linear", "float32"].parameters == 8 * 24 + 24
    assert found["norms", "float32"].parameters == 16
    assert found["other", "u8"].size_bytes == 256
    assert found["other", "float32"].parameters == 16 * 8
    assert found["embeddings", "float32"].parameters == 800
    assert found["embeddings", "float32"].tied
    whole = weight_parts.of_folder(
        SimpleNamespace(  # type: ignore[arg-type] # only what it looks at
            config={"n_layer": 1, "n_head": 2, "n_embd": 8},
            tensors=(
                entry("h.0.attn.c_attn.weight", "F32", 8, 24),
                entry("wte.weight", "F32", 9, 8),
            ),
        )
    )
    assert not whole.unknown
    assert (whole.kv_elements, whole.attention_width) == (16, 8)
    assert whole.read_bytes() == whole.stored_bytes


@given(
    st.lists(
        st.builds(
            Part,
            component=st.sampled_from(COMPONENTS),
            kind=st.sampled_from(["bfloat16", "int4", "q6_k", *sorted(BESIDE_KINDS)]),
            stored_bytes=st.integers(0, 10**9),
            elements=st.integers(0, 10**9),
            parameters=st.integers(0, 10**9),
            plain=st.booleans(),
            read=st.booleans(),
        ),
        max_size=12,
    )
)
def test_every_byte_and_every_weight_is_counted_once(parts: list[Part]) -> None:
    found = sizes(parts)
    assert sum(size.size_bytes for size in found) == sum(part.stored_bytes for part in parts)
    assert sum(size.parameters for size in found) == sum(part.logical for part in parts)
    weights = sum(size.parameters for size in found)
    assert (bits_per_weight(found) is None) == (weights == 0)


def test_parts_come_in_order_the_larger_type_first() -> None:
    planned = of_shape(shapes.named("synthetic/0.25b"), "q4_k_m")
    assert planned is not None
    found = sizes(planned.parts)
    assert [size.part for size in found] == sorted(
        (size.part for size in found), key=part_sizes.PARTS.index
    )
    linear = [size for size in found if size.part == "linear"]
    assert [size.dtype for size in linear] == ["q4_k", "q6_k"]
    assert [size.bits_per_weight for size in linear] == [4.5, 6.5625]
    assert OTHER not in {size.part for size in found}
