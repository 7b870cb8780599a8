"""The compiled kernels from Python: which of them to use, and calls that torch.compile can trace.

`QUANTSWARM_CPU_ISA` (avx2, avx512 or amx) caps the instruction sets, for tests on better hosts.
"""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantswarm.engines.vllm_cpu.layout import COLUMNS, Packed4, Packed8
from quantswarm.models.errors import NotAvailable, UnknownName

if TYPE_CHECKING:
    import torch

    from quantswarm.engines.vllm_cpu.fp8_kv_torch import Reading

MODES = ("w4a16", "w4a8")
"""w4a16 keeps 16 bits of each activation; w4a8 rounds them to 8 bits, 32 sharing a scale."""

ISA_VARIABLE = "QUANTSWARM_CPU_ISA"

# Numbers of `enum Kernel` in csrc/dispatch.h.
KERNELS = {
    "w4a8.avx2": 0,
    "w4a16.avx2": 1,
    "w4a8.vnni": 2,
    "w4a16.vnni": 3,
    "w4a16.amx": 4,
    "int8.avx2": 5,
    "int8.vnni": 6,
    "w16a32.avx2": 7,
}
NARROW = "w16a32.avx2"
"""Float32 activations and weights kept in the 16 bits that the checkpoint stores them in."""

# Up to so many rows a mode's own kernel is faster than AMX (docs/kernels.md has the figures).
_BEFORE_AMX = {"w4a16": 4, "w4a8": 8}
_CAPS = {"avx2": ("avx2",), "avx512": ("avx2", "vnni"), "amx": ("avx2", "vnni", "amx")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Kernels by name: for up to `few_rows` rows, and for more."""

    few: str
    many: str
    few_rows: int = 0

    @property
    def name(self) -> str:
        """As logs and manifests say it."""
        return self.few if self.few == self.many else f"{self.few}+{self.many}"


def cap() -> tuple[str, ...]:
    """Instruction sets that may be used, by the environment."""
    asked = os.environ.get(ISA_VARIABLE) or "amx"
    if asked not in _CAPS:
        raise UnknownName("instruction set", asked, _CAPS, next_step=f"change {ISA_VARIABLE}")
    return _CAPS[asked]


def load(library: Path) -> frozenset[str]:
    """Register the operators, once a process; the kernels that run on this processor."""
    return _load(str(library.resolve()))


@functools.cache
def _load(library: str) -> frozenset[str]:
    import torch

    torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    torch.library.register_fake("quantswarm_cpu::linear4", _fake4)
    torch.library.register_fake("quantswarm_cpu::linear8", _fake8)
    torch.library.register_fake("quantswarm_cpu::linear16", _fake16)
    ask = ctypes.CDLL(library).quantswarm_cpu_usable
    ask.restype = ctypes.c_int64
    bits = ask()
    return frozenset(name for name, number in KERNELS.items() if bits >> number & 1)


def choose4(mode: str, wide_activations: bool, runs_here: frozenset[str]) -> Choice:
    """The best kernels for a mode. `wide_activations`: float32, which AMX cannot take."""
    if mode not in MODES:
        raise UnknownName("4-bit mode", mode, MODES, next_step="choose one of them")
    few = _best(mode, runs_here)
    amx = "w4a16.amx"
    if amx in runs_here and "amx" in cap() and not wide_activations:
        return Choice(few=few, many=amx, few_rows=_BEFORE_AMX[mode])
    return Choice(few=few, many=few)


def choose8(runs_here: frozenset[str]) -> str:
    """The best int8 kernel."""
    return _best("int8", runs_here)


def _best(kind: str, runs_here: frozenset[str]) -> str:
    for isa in ("vnni", "avx2"):
        name = f"{kind}.{isa}"
        if isa in cap() and name in runs_here:
            return name
    raise NotAvailable(
        f"the {kind} kernels",
        "this processor has no AVX2",
        next_step="use an unquantized type: fp32",
    )


def linear4(
    x: torch.Tensor, weights: Packed4, bias: torch.Tensor | None, choice: Choice
) -> torch.Tensor:
    """`x` times the weights, in `x`'s type (float32 or bfloat16); `bias` is float32."""
    return call4(x, weights.q, weights.scale, weights.zero, bias, weights.outputs, choice)


def call4(
    x: torch.Tensor,
    q: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor | None,
    bias: torch.Tensor | None,
    outputs: int,
    choice: Choice,
) -> torch.Tensor:
    """`linear4` with the tensors one by one, as a layer's parameters hold them."""
    import torch

    numbers = KERNELS[choice.few], KERNELS[choice.many], choice.few_rows
    op = torch.ops.quantswarm_cpu.linear4.default
    y: torch.Tensor = op(_rows(x), q, scale, zero, bias, outputs, *numbers)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], outputs)


def linear8(
    x: torch.Tensor, weights: Packed8, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor:
    """`x`, each row rounded to 8 bits with its own scale, times 8-bit weights, in `x`'s type."""
    import torch

    op = torch.ops.quantswarm_cpu.linear8.default
    packed = weights.q, weights.scale, weights.sum
    y: torch.Tensor = op(_rows(x), *packed, bias, weights.outputs, KERNELS[kernel])
    return y if x.dim() == 2 else y.view(*x.shape[:-1], weights.outputs)


def linear16(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Float32 `x` times `weight` [outputs, inputs] in bfloat16 or float16, in float32."""
    import torch

    y: torch.Tensor = torch.ops.quantswarm_cpu.linear16.default(_rows(x), weight, bias)
    return y if x.dim() == 2 else y.view(*x.shape[:-1], weight.shape[0])


def _rows(x: torch.Tensor) -> torch.Tensor:
    rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    return rows if rows.stride(-1) == 1 else rows.contiguous()


def _fake4(x: Any, q: Any, *rest: Any) -> Any:
    outputs = rest[3]
    assert q.shape[0] * COLUMNS >= outputs
    return x.new_empty((x.shape[0], outputs))


def _fake8(x: Any, *rest: Any) -> Any:
    return x.new_empty((x.shape[0], rest[4]))


def _fake16(x: Any, weight: Any, bias: Any) -> Any:
    assert bias is None or bias.shape[0] == weight.shape[0]
    return x.new_empty((x.shape[0], weight.shape[0]))


def fp8_kv_write(
    key: torch.Tensor,
    value: torch.Tensor,
    cache: torch.Tensor,
    slots: torch.Tensor,
    key_scale: float,
    value_scale: float,
) -> None:
    """As `fp8_kv_torch.write`."""
    import torch

    op = torch.ops.quantswarm_cpu.fp8_kv_write.default
    op(key, value, cache, slots, key_scale, value_scale)


def fp8_kv_round(x: torch.Tensor, scale: float) -> torch.Tensor:
    """As `fp8_kv_torch.rounded`."""
    import torch

    y: torch.Tensor = torch.ops.quantswarm_cpu.fp8_kv_round.default(x.contiguous(), scale)
    return y


def fp8_kv_attend(
    query: torch.Tensor, cache: torch.Tensor, out: torch.Tensor, how: Reading
) -> None:
    """As `fp8_kv_torch.attend`."""
    import torch

    torch.ops.quantswarm_cpu.fp8_kv_attend.default(
        *(query, cache, out, how.query_start, how.lengths, how.table),
        *(how.scale * how.key_scale, how.value_scale, how.softcap, how.window, how.sinks),
    )
