"""vLLM's key-value cache in e4m3, rounded to nearest, on every x86 CPU.

Upstream (0.32) refuses `--kv-cache-dtype fp8` where there is neither AVX-512 nor AMX, and elsewhere
its writer truncates. So, on the CPU attention's own classes:

* without AVX-512 the cache is written and read by our kernels, or by PyTorch where no library was
  compiled;
* with it keys and values are rounded first, and upstream's writer finds nothing left to truncate.

Nothing else is touched: other cache types, encoders, other platforms. `install` says in the log
which way serves; that line is what manifests keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.logger import init_logger
from vllm.v1.attention.backend import AttentionType
from vllm.v1.attention.backends import cpu_attn

from quantswarm.engines.vllm_cpu import fp8_kv_torch, kernels
from quantswarm.engines.vllm_cpu.fp8_kv_torch import Reading

if TYPE_CHECKING:
    from pathlib import Path

    import torch

logger = init_logger("vllm.quantswarm")
E4M3 = ("fp8", "fp8_e4m3")
_MARK = "_quantswarm_fp8_kv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """One way to round, write and read; `name` is what logs and manifests say."""

    name: str
    rounded: Callable[[torch.Tensor, float], torch.Tensor]
    write: Callable[..., None]
    attend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Reading], None]


def operators(library: Path | None) -> Operators:
    """The compiled ones where they run here, else PyTorch's."""
    if library is not None and "w4a16.avx2" in kernels.load(library):
        return Operators(
            name="avx2",
            rounded=kernels.fp8_kv_round,
            write=kernels.fp8_kv_write,
            attend=kernels.fp8_kv_attend,
        )
    return Operators(
        name="torch",
        rounded=fp8_kv_torch.rounded,
        write=fp8_kv_torch.write,
        attend=fp8_kv_torch.attend,
    )


def install(library: Path | None) -> None:
    """Change the CPU attention's classes, once a process."""
    if getattr(cpu_attn, _MARK, False):
        return
    setattr(cpu_attn, _MARK, True)
    if _upstream_reads_it():
        _round_before_writing(operators(library))
    else:
        _serve_it_all(operators(library))


def _upstream_reads_it() -> bool:
    import torch

    return bool(torch.cpu._is_avx512_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def _ours(impl: Any) -> bool:
    decoder = impl.attn_type not in (AttentionType.ENCODER, AttentionType.ENCODER_ONLY)
    return impl.kv_cache_dtype in E4M3 and decoder


def _round_before_writing(use: Operators) -> None:
    """Rounded numbers are e4m3's own, so upstream's truncation leaves them alone.

    They are divided by their scales before, in float32; the writer then must not do it again.
    """
    impl = cpu_attn.CPUAttentionBackendImpl
    upstream = impl.do_kv_cache_update

    def update(self: Any, layer: Any, key: Any, value: Any, cache: Any, slots: Any) -> None:
        if not _ours(self):
            upstream(self, layer, key, value, cache, slots)
            return
        logger.info_once("Using quantswarm:fp8_kv.round+cpu_attn for the key-value cache")
        blocks, heads, size, _ = cache.size()
        keys, values = cache.view(blocks, heads, size * 2, -1).chunk(2, dim=2)
        cpu_attn.ops.cpu_attn_reshape_and_cache(
            use.rounded(key, layer._k_scale_float),  # noqa: SLF001
            use.rounded(value, layer._v_scale_float),  # noqa: SLF001
            keys,
            values,
            slots,
            layer.isa,
            kv_cache_dtype=self.kv_cache_dtype,
        )

    impl.do_kv_cache_update = update


def _serve_it_all(use: Operators) -> None:
    """Upstream's schedule, which is not used, would refuse the cache's type: it is hidden."""
    impl, builder = cpu_attn.CPUAttentionBackendImpl, cpu_attn.CPUAttentionMetadataBuilder
    upstream_isa = cpu_attn._get_attn_isa  # noqa: SLF001
    upstream_init, upstream_update = builder.__init__, impl.do_kv_cache_update
    upstream_forward = impl.forward

    def isa(dtype: Any, block_size: int, head_size: Any = None, kv_cache_dtype: Any = None) -> Any:
        seen = None if kv_cache_dtype in E4M3 else kv_cache_dtype
        return upstream_isa(dtype, block_size, head_size, seen)

    def init(self: Any, *given: Any, **named: Any) -> None:
        upstream_init(self, *given, **named)
        if self.kv_cache_dtype in E4M3:
            self.kv_cache_dtype = "auto"

    def update(self: Any, layer: Any, key: Any, value: Any, cache: Any, slots: Any) -> None:
        if not _ours(self):
            upstream_update(self, layer, key, value, cache, slots)
            return
        scales = layer._k_scale_float, layer._v_scale_float  # noqa: SLF001
        use.write(key, value, cache, slots, *scales)

    def forward(
        self: Any, layer: Any, query: Any, key: Any, value: Any, cache: Any, step: Any, output: Any,
        *rest: Any, **named: Any,
    ) -> Any:  # fmt: skip
        if step is None or not _ours(self):
            return upstream_forward(
                self, layer, query, key, value, cache, step, output, *rest, **named
            )
        logger.info_once("Using quantswarm:fp8_kv.%s for the key-value cache", use.name)
        _refuse_unknown(self, step, rest, named)
        used = step.num_actual_tokens
        use.attend(query[:used], cache, output[:used], _reading(self, layer, step))
        return output

    cpu_attn._get_attn_isa = isa  # noqa: SLF001
    builder.__init__ = init
    impl.do_kv_cache_update = update
    impl.forward = forward


def _reading(impl: Any, layer: Any, step: Any) -> Reading:
    return Reading(
        query_start=step.query_start_loc,
        lengths=step.seq_lens,
        table=step.block_table,
        scale=impl.scale,
        key_scale=layer._k_scale_float,  # noqa: SLF001
        value_scale=layer._v_scale_float,  # noqa: SLF001
        window=impl.sliding_window,
        softcap=float(impl.logits_soft_cap),
        sinks=None if impl.sinks is None else impl.sinks.float(),
    )


def _refuse_unknown(impl: Any, step: Any, rest: Any, named: Any) -> None:
    """Attention that our kernels do not compute; a wrong answer would look like a right one."""
    unknown = {
        "ALiBi": impl.alibi_slopes is not None,
        "attention that is not causal": not step.causal or step.dynamic_causal is not None,
        "cross attention": impl.attn_type == AttentionType.ENCODER_DECODER,
        "outputs quantized on the way": any(x is not None for x in (*rest, *named.values())),
    }
    found = [kind for kind, present in unknown.items() if present]
    if found:
        raise NotImplementedError(
            f"an e4m3 key-value cache without AVX-512 has no {', '.join(found)}: "
            "serve this model without --kv-cache-dtype fp8"
        )
