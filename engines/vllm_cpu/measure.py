"""Products of one layer's matrices by every kernel, against vLLM's own dense ones.

    python -m quantswarm.engines.vllm_cpu.measure --rows 1,8,32,128

One thread, timed by the processor time it used: other work on the machine takes its caches and
memory bandwidth, but is not counted itself. Kernels take turns within a round, and each
matrix counts with its smallest time. Several layers are held, so that weights come from memory.
`QUANTSWARM_CPU_ISA=avx2` leaves AVX-512 and AMX unused in vLLM's products too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from quantswarm.engines.vllm_cpu import fallback, kernels, layout, settings

if TYPE_CHECKING:
    import torch

SHAPES = "2048x1024,1024x1024,5632x1024,1024x2816"
"""Outputs and inputs of a layer with 250 M parameters in 16 of them."""

Product = Callable[["torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """One weight matrix, and what multiplies with it by name."""

    inputs: int
    products: Mapping[str, Product]


def best_us(
    layers: Sequence[Matrix], rows: int, rounds: int, dtype: torch.dtype
) -> dict[str, float]:
    """Microseconds for all matrices once, by product."""
    import torch

    given = {m.inputs: torch.randn(rows, m.inputs).to(dtype) for m in layers}
    best = {name: [sys.maxsize] * len(layers) for name in layers[0].products}
    for _ in range(rounds):
        for name, smallest in best.items():
            for i, matrix in enumerate(layers):
                x, product = given[matrix.inputs], matrix.products[name]
                started = time.thread_time_ns()
                product(x)
                smallest[i] = min(smallest[i], time.thread_time_ns() - started)
    return {name: sum(smallest) / 1e3 for name, smallest in best.items()}


def matrix(
    outputs: int, inputs: int, group: int, dtype: torch.dtype, wanted: frozenset[str]
) -> Matrix:
    """Random weights, held once for each of the products that are wanted."""
    import torch

    q = torch.randint(0, 16, (outputs, inputs), dtype=torch.uint8)
    scale = (torch.rand(inputs // group, outputs) / 100 + 0.001).to(torch.bfloat16)
    made = {name: p for name, p in _every(q, scale, group, dtype) if not wanted or name in wanted}
    return Matrix(inputs=inputs, products={name: make() for name, make in made.items()})


def _every(
    q: torch.Tensor, scale: torch.Tensor, group: int, dtype: torch.dtype
) -> Iterator[tuple[str, Callable[[], Product]]]:
    import torch

    yield "dense", lambda: _dense(torch.randn(q.shape).to(dtype))
    runs_here = kernels.load(settings.library())
    for name in sorted(runs_here):
        if name.rpartition(".")[2] not in kernels.cap():
            continue
        if name == kernels.NARROW:
            if dtype == torch.float32:
                yield name, lambda: _narrow(torch.randn(q.shape).to(torch.bfloat16))
        elif name.startswith("int8"):
            yield name, partial(_eight_bits, q, name)
        elif dtype == torch.bfloat16 or not name.endswith("amx"):
            yield name, partial(_four_bits, q, scale, group, name)
    if fallback.refusal(q.shape[1], q.shape[0], group) is None:
        yield "torch", lambda: _torch(q, scale, group)
    if dtype == torch.bfloat16 and hasattr(torch.ops._C, "cpu_gemm_wna16"):  # noqa: SLF001
        yield "upstream w4a16", lambda: _upstream(q, scale, group, w4a8=False)
        if torch.cpu._is_amx_tile_supported():  # noqa: SLF001
            yield "upstream w4a8", lambda: _upstream(q, scale, group, w4a8=True)


def _dense(weight: torch.Tensor) -> Product:
    """As vLLM multiplies unquantized weights on this processor."""
    import torch
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    layer: Any = torch.nn.Module()
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    layer.bias = None
    dispatch_cpu_unquantized_gemm(layer, remove_weight=True)
    return lambda x: layer.cpu_linear(x, layer.weight, None)


def _four_bits(q: torch.Tensor, scale: torch.Tensor, group: int, name: str) -> Product:
    packed = layout.pack4(q, scale, None, group)
    only = kernels.Choice(few=name, many=name)
    return lambda x: kernels.linear4(x, packed, None, only)


def _eight_bits(q: torch.Tensor, name: str) -> Product:
    import torch

    packed = layout.pack8(q.to(torch.int8) * 16 - 128, torch.ones(q.shape[0]) / 1000)
    return lambda x: kernels.linear8(x, packed, None, name)


def _narrow(weight: torch.Tensor) -> Product:
    return lambda x: kernels.linear16(x, weight, None)


def _torch(q: torch.Tensor, scale: torch.Tensor, group: int) -> Product:
    packed = fallback.pack(q, scale, None, group)
    return lambda x: fallback.linear(x, packed)


def _upstream(q: torch.Tensor, scale: torch.Tensor, group: int, *, w4a8: bool) -> Product:
    """vLLM's own 4-bit kernel, given GPTQ's layout as vLLM's loader leaves it."""
    import torch
    from vllm.model_executor.kernels.linear.mixed_precision.cpu import CPUWNA16LinearKernel
    from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import (
        MPLinearLayerConfig,
    )
    from vllm.model_executor.layers.quantization.utils.quant_utils import (
        pack_quantized_values_into_int32,
    )
    from vllm.scalar_type import scalar_types

    kind = scalar_types.uint4b8
    shape = (q.shape[1], q.shape[0])
    config = MPLinearLayerConfig(shape, shape, kind, torch.bfloat16, group, False)
    layer: Any = torch.nn.Module()
    layer.bias = None
    for name, value in (
        ("qweight", pack_quantized_values_into_int32(q.t().int(), kind, 0)),
        ("scales", scale.clone()),
        ("qzeros", torch.zeros(1, dtype=torch.int32)),
    ):
        parameter: Any = torch.nn.Parameter(value, requires_grad=False)
        parameter.input_dim, parameter.output_dim, parameter.packed_dim = 0, 1, 0
        layer.register_parameter(name, parameter)
    os.environ["VLLM_CPU_INT4_W4A8"] = "1" if w4a8 else "0"
    kernel = CPUWNA16LinearKernel(config, "qweight", "scales", "qzeros")
    kernel.process_weights_after_loading(layer)
    return lambda x: kernel.apply_weights(layer, x)


def _prepare(dtype: str) -> torch.dtype:
    """vLLM's operators for the instruction sets allowed, and one thread."""
    avx2_only = kernels.cap() == ("avx2",)
    if avx2_only:
        os.environ |= {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    import torch

    if avx2_only:
        for ask in ("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            setattr(torch.cpu, ask, lambda: False)
    from vllm.platforms import current_platform

    current_platform.import_kernels()
    torch.set_num_threads(1)
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[dtype]


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m quantswarm.engines.vllm_cpu.measure")
    parser.add_argument("--rows", default="1,8,32,128", help="tokens multiplied at once")
    parser.add_argument("--shapes", default=SHAPES, help="outputs x inputs of the matrices")
    parser.add_argument("--group", type=int, default=128, help="weights that share a scale")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16", help="activations")
    parser.add_argument("--only", default="", help="some products, by name; the first is the base")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=10)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Print microseconds a layer, and how many times the first product's speed that is."""
    asked = _arguments(given)
    dtype = _prepare(asked.dtype)
    wanted = frozenset(filter(None, asked.only.split(",")))
    shapes = [shape.split("x") for shape in asked.shapes.split(",")]
    layers = [
        matrix(int(outputs), int(inputs), asked.group, dtype, wanted)
        for outputs, inputs in shapes * asked.layers
    ]
    for rows in map(int, asked.rows.split(",")):
        us = {
            name: all_ / asked.layers
            for name, all_ in best_us(layers, rows, asked.rounds, dtype).items()
        }
        base = next(iter(us.values()))
        print(
            f"rows {rows}",
            *(f"{name} {t:,.0f} us ({base / t:.2f}x)" for name, t in us.items()),
            sep=" | ",
            flush=True,
        )


if __name__ == "__main__":
    main()
