"""Which checkpoints of quantized weights vLLM can serve; the others are refused before it starts.

vLLM itself finds out when it loads them, after half a minute. The rules are those of vLLM 0.32 and
of the plugin's kernels (engines/vllm_cpu); only config and headers are read.
"""

from __future__ import annotations

from collections.abc import Mapping

from quantswarm.engines import vllm_isa, vllm_products
from quantswarm.engines.base import ServeSpec
from quantswarm.engines.vllm_cpu import fallback, layout
from quantswarm.models import hf_folder, quantized
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import UnsupportedPair
from quantswarm.models.quantized_layers import matrices

FORMATS = ("gptq", "awq", "compressed-tensors")
FOUR_BIT = ("gptq", "awq", "w4a16", "gptq-nearest", "awq-nearest")
GPTQ_GROUPS = (-1, 32, 64, 128)
"""vLLM checks GPTQ against them on every device, by the table of its Marlin kernels."""

_CHOICES = (
    "Choices: 4-bit weights in groups of 32, 64 or 128, or one group a channel;"
    " the original weights with --quant gptq or awq, or with --engine llamacpp --quant q4_k_m"
)


def require_servable(artefact: Artefact, spec: ServeSpec) -> None:
    """`UnsupportedPair` or `BadFile` with the reason; nothing for weights that are not there yet,
    as in a dry run, or that are not quantized."""
    if artefact.format not in FORMATS or not (artefact.path / "config.json").is_file():
        return
    asked = f"{artefact.quant} weights in {artefact.path}"
    folder = hf_folder.inspect(artefact.path, asked)
    found = quantized.recognise(folder, asked)
    if found is None:
        return
    _refuse_reordered(found, asked)
    if found.quant == "gptq" and found.group_size not in GPTQ_GROUPS:
        raise _refused(asked, f"vLLM takes no GPTQ weights in groups of {found.group_size}")
    if spec.device == "cpu" and found.quant in FOUR_BIT:
        shapes = matrices(folder, found.quant)
        _refuse_without_kernel(shapes, found.group_size or -1, spec.options, asked)


def _refuse_reordered(found: quantized.Quantized, asked: str) -> None:
    if found.reordered:
        raise UnsupportedPair(
            asked,
            "its groups follow the order of the activations (desc_act, actorder), which vLLM 0.32"
            " does not serve any more, on any device",
            evidence=f"{_CHOICES}; a checkpoint with desc_act false.",
            next_step="give the model's original folder: --quant gptq makes one without desc_act",
        )


def _refuse_without_kernel(
    shapes: Mapping[str, tuple[int, int]], group: int, given: Mapping[str, str], asked: str
) -> None:
    """Every layer needs the kernel that was chosen, or vLLM's own behind it."""
    choice = vllm_products.four_bit(given)
    for layer, (inputs, outputs) in shapes.items():
        ours = _our_refusal(choice, inputs, outputs, group)
        theirs = ours and _upstream_refusal(inputs, outputs, group, given)
        if theirs:
            raise _refused(asked, f"{layer}: {ours}; vLLM's own kernel: {theirs}")


def _our_refusal(choice: str, inputs: int, outputs: int, group: int) -> str | None:
    if choice == "upstream":
        return "our kernels are switched off (four_bit=upstream)"
    found = layout.refusal(inputs, group)
    if found is None and choice == "torch":
        found = fallback.refusal(inputs, outputs, group)
        if group == -1:
            found = "PyTorch's operator does not know one group a channel"
        return found and f"{found} (make setup compiles kernels without that limit)"
    return found


def _upstream_refusal(
    inputs: int, outputs: int, group: int, given: Mapping[str, str]
) -> str | None:
    """By its `CPUWNA16LinearKernel.can_implement`; on x86 it is built for AVX-512 alone."""
    isa = vllm_isa.left(given)
    if isa and "avx512f" not in isa:
        return "it needs AVX-512"
    if group != -1 and group % 2:
        return f"groups of {group}, an odd number"
    if inputs % 32 or outputs % 32:
        return f"{inputs} inputs and {outputs} outputs, not both multiples of 32"
    return None


def _refused(asked: str, found: str) -> UnsupportedPair:
    return UnsupportedPair(
        asked, found, evidence=f"{_CHOICES}.", next_step="one of these, or a machine with a GPU"
    )
