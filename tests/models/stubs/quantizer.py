"""Stands in for the quantizers' environment: its "libraries" round to nearest, in a second.

Called as the real interpreter is: -I -u driver.py PLAN. QUANTIZER_FAULT makes it misbehave.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantswarm.models import hf_folder
from quantswarm.models.quantize import check, grouped, nearest
from quantswarm.models.quantize.tensors import Checkpoint, write

KINDS = {"int32": "I32", "float16": "F16", "float32": "F32", "int8": "I8", "int64": "I64"}


def packed(layer: grouped.Grouped, *, zeros: bool) -> dict[str, Any]:
    """compressed-tensors' pack-quantized."""
    codes = np.ascontiguousarray(layer.codes.T)
    found = {
        "weight_packed": grouped.pack(codes),
        "weight_scale": np.ascontiguousarray(layer.scales.T).astype(np.float32),
        "weight_shape": np.array(codes.shape, np.int64),
    }
    if zeros:
        found["weight_zero_point"] = np.ascontiguousarray(grouped.pack(layer.zeros).T)
    return found


def layer_of(plan: Mapping[str, Any], weight: Any) -> dict[str, Any]:
    """One layer as the library of that method writes it."""
    method = plan["method"]
    if method == "int8":
        scale = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127.5)
        whole = np.clip(np.rint(weight / scale), -128, 127).astype(np.int8)
        return {"weight": whole, "weight_scale": scale.astype(np.float32)}
    if method == "fp8":
        scale = (np.abs(weight).max(axis=1, keepdims=True) / 448).astype(np.float32)
        values = nearest.fp8(weight) / scale
        table = nearest.e4m3()[:127]
        codes = np.abs(np.abs(values)[..., None] - table).argmin(axis=-1)
        return {
            "weight": (codes | np.where(values < 0, 128, 0)).astype(np.uint8),
            "weight_scale": scale,
        }
    near = nearest.four_bit(weight, plan["group_size"], symmetric=plan["symmetric"])
    if method == "gptq":
        return grouped.to_gptq(near)
    return packed(near, zeros=not plan["symmetric"])


def config_of(plan: Mapping[str, Any]) -> dict[str, Any]:
    """As the libraries write it, as far as it is read."""
    if plan["method"] == "gptq":
        own = {"bits": 4, "group_size": plan["group_size"], "sym": plan["symmetric"]}
        return {"quant_method": "gptq", "desc_act": False, "checkpoint_format": "gptq", **own}
    kinds = {"int8": ("int", 8, 8), "fp8": ("float", 8, 8)}
    kind, bits, inputs = kinds.get(plan["method"], ("int", 4, None))
    group = plan["group_size"] if inputs is None else None
    weights = {"type": kind, "num_bits": bits, "group_size": group, "symmetric": True}
    activations = {"num_bits": inputs} if inputs else None
    scheme = {"weights": weights, "input_activations": activations, "targets": ["Linear"]}
    layout = {"int8": "int-quantized", "fp8": "float-quantized"}.get(plan["method"])
    own = {"format": layout or "pack-quantized", "config_groups": {"group_0": scheme}}
    return {"quant_method": "compressed-tensors", **own}


def make(plan: Mapping[str, Any]) -> None:
    """The library's folder: float32 beside the quantized layers, as llmcompressor leaves it."""
    original = Checkpoint(hf_folder.inspect(Path(plan["model"]), "stub"))
    quantized = set(check.linear_layers(original))
    tensors: dict[str, tuple[str, Any]] = {}
    for name in original.entries:
        layer = name.removesuffix(".weight")
        if layer not in quantized:
            tensors[name] = ("F32", original.float32(name))
            continue
        for part, value in layer_of(plan, original.float32(name)).items():
            kind = "F8_E4M3" if value.dtype == np.uint8 else KINDS[str(value.dtype)]
            tensors[f"{layer}.{part}"] = (kind, value)
    fault = os.environ.get("QUANTIZER_FAULT")
    if fault in ("nan", "doubled"):
        name = next(name for name in tensors if name.endswith("scales"))
        kind, value = tensors[name]
        tensors[name] = (kind, value * np.float16("nan" if fault == "nan" else 3))
    out = Path(plan["out"])
    out.mkdir()
    facts = {name: (kind, value.shape) for name, (kind, value) in tensors.items()}
    write(out / "model.safetensors", facts, (value for _, value in tensors.values()))
    config = {**original.config, "torch_dtype": "float32", "quantization_config": config_of(plan)}
    (out / "config.json").write_text(json.dumps(config))


def main() -> int:
    """Do as the driver does, or as the fault says."""
    path = Path(sys.argv[-1])
    plan = json.loads(path.read_text())
    fault = os.environ.get("QUANTIZER_FAULT", "")
    for number in range(3):
        print(f"\x1b[32mquantizing model.layers.{number}\x1b[0m", end="\r", flush=True)
    if fault == "dies":
        print("\nRuntimeError: out of patience", file=sys.stderr)
        return 3
    if fault.startswith("waits:"):
        Path(fault.removeprefix("waits:")).write_text(str(os.getpid()))
        time.sleep(600)
    make(plan)
    if fault == "killed":
        half = Path(plan["out"]) / "model.safetensors"
        os.truncate(half, half.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    if fault != "silent":
        path.with_name("result.json").write_text(json.dumps({"versions": {"stub": "1"}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
