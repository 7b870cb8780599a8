"""The quantizing process, run by path with the libraries' own Python: nothing of ours is imported.

Command line: PLAN.json, which names method, model, output folder, settings and calibration rows.
The libraries say what they do on standard output and error; `result.json` beside the plan is
written last and holds their versions. It dies with its parent, whatever ends that.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
LIBRARIES = ("gptqmodel", "llmcompressor", "compressed-tensors", "torch", "transformers", "numpy")
SCHEMES = {"int8": "W8A8", "fp8": "FP8_DYNAMIC", "w4a16": "W4A16"}
"""Names of llmcompressor; 8-bit activations are rounded a token at a time while serving."""


def gptq(plan: Mapping[str, Any]) -> None:
    """GPTQModel's, written in GPTQ's own format."""
    from gptqmodel import GPTQModel, QuantizeConfig

    config = QuantizeConfig(
        bits=4, group_size=plan["group_size"], sym=plan["symmetric"], desc_act=False
    )
    model = GPTQModel.load(plan["model"], config)
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in plan["rows"]]
    model.quantize(rows, batch_size=4)
    model.save(plan["out"])


def awq(plan: Mapping[str, Any]) -> None:
    """llmcompressor's search for scales, then rounding; written as compressed-tensors."""
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor.modifiers.awq import AWQModifier

    weights = QuantizationArgs(
        num_bits=4, strategy="group", group_size=plan["group_size"], symmetric=plan["symmetric"]
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in plan["rows"]]
    _oneshot(
        plan,
        recipe=AWQModifier(config_groups={"group_0": scheme}, ignore=["lm_head"]),
        dataset=Dataset.from_list(rows),
        max_seq_length=plan["tokens"],
        num_calibration_samples=len(rows),
        batch_size=8,  # rows are equally long: none is cut, and the cores have larger products
    )


def rounded(plan: Mapping[str, Any]) -> None:
    """llmcompressor's rounding to nearest, which looks at the weights alone."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    scheme = SCHEMES[plan["method"]]
    modifier = QuantizationModifier(targets=["Linear"], scheme=scheme, ignore=["lm_head"])
    _oneshot(plan, recipe=modifier)


def _oneshot(plan: Mapping[str, Any], **options: Any) -> None:
    import torch
    from llmcompressor import oneshot
    from llmcompressor.pipelines.cache import IntermediatesCache
    from transformers import AutoModelForCausalLM

    if not torch.accelerator.is_available():
        # A fault of llmcompressor 0.14: it pins memory for an accelerator that is not there, which
        # PyTorch refuses. Nothing is copied to one, so nothing has to be pinned.
        IntermediatesCache.pin_memory = lambda *_given, **_named: None
    model = AutoModelForCausalLM.from_pretrained(plan["model"], dtype=torch.float32)
    oneshot(model=model, output_dir=plan["out"], **options)


METHODS: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
    "gptq": gptq,
    "awq": awq,
    "int8": rounded,
    "fp8": rounded,
    "w4a16": rounded,
}


def die_with(parent: int) -> None:
    """End when the parent does; at once where it is gone already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def versions() -> dict[str, str]:
    """Those that made the weights."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def main(words: list[str]) -> int:
    """Carry out the plan."""
    path = Path(words[0])
    plan = json.loads(path.read_text(encoding="utf-8"))
    die_with(plan["parent"])
    METHODS[plan["method"]](plan)
    result = path.with_name("result.json")
    part = result.with_suffix(".part")
    part.write_text(json.dumps({"versions": versions()}), encoding="utf-8")
    part.replace(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
