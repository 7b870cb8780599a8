"""A model loaded as it is served: its type, its quantization, and what of it was quantized.

The server and the process that scores windows load through the same function, so that quality is
measured on what serves.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from typing import Any

import torch
import transformers
from torch import nn

from quantswarm.engines.transformers_serve.arguments import BNB_INT8, BNB_NF4, INT8_DYNAMIC
from quantswarm.engines.transformers_serve.facts import FACTS

Model = Any
"""A `PreTrainedModel`; transformers is not analysed."""


def load(asked: argparse.Namespace) -> tuple[Model, Any]:
    """Model and tokenizer; says on stdout what serves the products and what was quantized."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    dtype = getattr(torch, asked.dtype)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        asked.model,
        dtype=dtype,
        device_map=asked.device,
        attn_implementation="sdpa",
        local_files_only=True,
        quantization_config=_bitsandbytes(asked.quantize, dtype),
    ).eval()
    before = _weights_bytes(model) if asked.quantize == INT8_DYNAMIC else None
    if asked.quantize == INT8_DYNAMIC:
        _quantize_linear(model)
    _try_out(model)
    facts = {
        "dtype": asked.dtype,
        "attention": "sdpa",
        "quantize": asked.quantize,
        "product": _product(model, asked),
        **_counted(model),
        **_sizes(model, before),
    }
    print(f"{FACTS}{json.dumps(facts)}", flush=True)
    return model, transformers.AutoTokenizer.from_pretrained(asked.model, local_files_only=True)


def _bitsandbytes(quantize: str | None, dtype: torch.dtype) -> Any:
    """As `transformers serve --quantization` configures it, but computing in the model's type."""
    if quantize == BNB_INT8:
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    if quantize == BNB_NF4:
        return transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return None


def _quantize_linear(model: Model) -> None:
    """PyTorch's dynamic quantization; in place, or the whole model would be copied."""
    quantize: Any = torch.ao.quantization.quantize_dynamic  # it has no types
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated in favour of another package
        quantize(model, {nn.Linear}, dtype=torch.qint8, inplace=True)


def _try_out(model: Model) -> None:
    """One token: bitsandbytes chooses and packs at the first product."""
    with torch.inference_mode():
        model(torch.zeros((1, 1), dtype=torch.long, device=model.device), use_cache=False)


def _is_dynamic(module: nn.Module) -> bool:
    return isinstance(module, torch.ao.nn.quantized.dynamic.Linear)


def _weights_bytes(model: Model) -> int:
    """Tensors that two modules share are counted once. Packed ones are no parameters; biases among
    them, some thousandths of a model, are left out."""
    plain: dict[int, int] = {
        tensor.data_ptr(): tensor.numel() * tensor.element_size()
        for tensor in [*model.parameters(), *model.buffers()]
    }
    packed: int = sum(
        module.in_features * module.out_features
        for module in model.modules()
        if _is_dynamic(module)
    )
    return sum(plain.values()) + packed


def _counted(model: Model) -> dict[str, Any]:
    """How many weights of matrices are quantized, and in what kind of module the others lie."""
    quantized, left, seen = 0, dict[str, int](), set[int]()
    for module in model.modules():
        kind = type(module).__name__
        if _is_dynamic(module) or kind in ("Linear4bit", "Linear8bitLt"):
            quantized += module.in_features * module.out_features
            continue
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() == 2:
            if weight.data_ptr() not in seen:
                left[kind] = left.get(kind, 0) + weight.numel()
            seen.add(weight.data_ptr())
    return {"quantized": quantized, "left": left}


def _sizes(model: Model, before: int | None) -> dict[str, int]:
    """Only where they are exact: bitsandbytes keeps its scales out of the model's tensors."""
    return {} if before is None else {"bytes_before": before, "bytes": _weights_bytes(model)}


def _product(model: Model, asked: argparse.Namespace) -> str:
    """The operator that multiplies most weights."""
    if asked.quantize == INT8_DYNAMIC:
        return f"quantized::linear_dynamic[{torch.backends.quantized.engine}]"
    if asked.quantize == BNB_INT8:
        return _bnb_int8(asked.device)
    if asked.quantize == BNB_NF4:
        return _bnb_nf4(model, asked.device)
    return f"aten::linear[{asked.dtype}]"


def _bnb_int8(device: str) -> str:
    """By bitsandbytes' own condition (backends/cpu/ops.py)."""
    if device != "cpu":
        return "bitsandbytes::int8_linear_matmul"
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return f"bitsandbytes::int8_linear_matmul[{'torch._int_mm' if wide else 'float32'}]"


def _bnb_nf4(model: Model, device: str) -> str:
    if device != "cpu":
        return "bitsandbytes::gemm_4bit"
    layer = next((one for one in model.modules() if type(one).__name__ == "Linear4bit"), None)
    state = getattr(getattr(layer, "weight", None), "quant_state", None)
    if not getattr(state, "packing_format_for_cpu", False):
        return "bitsandbytes::dequantize_4bit+aten::linear"
    from bitsandbytes.backends.cpu import ops

    fused = getattr(ops, "gemm_4bit_forward_kernel", None) is not None
    return f"bitsandbytes::gemv_4bit[{'kernels-community' if fused else 'libbitsandbytes_cpu'}]"


def settle(threads: int, cores: str) -> None:
    """Bind the calling thread, and those that it will start, to the compute cores."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    torch.set_num_threads(threads)
