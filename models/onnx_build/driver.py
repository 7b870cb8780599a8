"""The exporting process: onnxruntime-genai's model builder, then a check of what it made.

`python -m quantswarm.models.onnx_build.driver PLAN.json`; the plan names method, model, output
folder, block size and the rows of token ids for the check. `result.json` beside the plan is written
last. It dies with its parent, whatever ends that.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantswarm.models.gguf_check import SAMPLES
from quantswarm.models.quantize.driver import die_with

LIBRARIES = ("onnxruntime-genai", "onnxruntime", "onnx", "onnx-ir", "torch", "transformers")
GRAPH = "model.onnx"


def exported(plan: Mapping[str, Any], precision: str, out: Path, **more: str) -> None:
    """The builder's graph: fused attention with a key-value cache, and `genai_config.json`."""
    import onnxruntime_genai.models

    # The builder imports its own parts by bare names, as a script run from its folder would.
    sys.path.insert(0, next(iter(onnxruntime_genai.models.__path__)))
    from onnxruntime_genai.models import builder

    cache = Path(plan["out"]).with_name("cache")
    words = [f"{name}={value}" for name, value in {"hf_token": "false", **more}.items()]
    where = (None, plan["model"], str(out), precision, "cpu", str(cache))
    builder.create_model(*where, **builder.parse_extra_options(*where, words))


def dynamic(source: Path, out: Path) -> None:
    """onnxruntime's dynamic quantization of every product with constant weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out.mkdir()
    quantize_dynamic(
        source / GRAPH,
        out / GRAPH,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
        extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1},
    )
    for path in source.iterdir():
        if not path.name.startswith(GRAPH):
            shutil.copy(path, out / path.name)
    shutil.rmtree(source)


def made(plan: Mapping[str, Any]) -> Path:
    """The folder, by the plan's method."""
    out = Path(plan["out"])
    if plan["method"] == "dynamic":
        plain = out.with_name("plain")
        exported(plan, "fp32", plain)
        dynamic(plain, out)
    elif plan["method"] == "fp32":
        exported(plan, "fp32", out)
    else:
        block, symmetric = str(plan["block_size"]), str(plan["symmetric"]).lower()
        exported(plan, plan["method"], out, block_size=block, is_symmetric=symmetric)
    shutil.copy(Path(plan["model"]) / "config.json", out / "config.json")
    for path in out.iterdir():
        path.chmod(0o644)
    return out


def original_logits(folder: str, rows: Sequence[Sequence[int]]) -> list[Any]:
    """[tokens, vocabulary] for each row, computed in float32 by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        return [model(torch.tensor([list(ids)])).logits[0].numpy() for ids in rows]


def own_logits(folder: Path, rows: Sequence[Sequence[int]]) -> list[Any]:
    """The same by the library that serves."""
    import numpy as np
    import onnxruntime_genai

    model = onnxruntime_genai.Model(str(folder))
    found = []
    for ids in rows:
        params = onnxruntime_genai.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + 1, do_sample=False)
        generator = onnxruntime_genai.Generator(model, params)
        generator.append_tokens(np.array(ids, np.int32))
        found.append(np.array(generator.get_output("logits")[0]))
    return found


def apart(wanted: Sequence[Any], found: Sequence[Any]) -> dict[str, float]:
    """How far logits are from the original's: root of squared differences over that of the squares
    (both less their row's mean), mean KL divergence in nats, share of equal likeliest tokens."""
    import numpy as np

    one = np.concatenate(wanted).astype(np.float64)
    two = np.concatenate(found).astype(np.float64)
    one, two = one - one.mean(-1, keepdims=True), two - two.mean(-1, keepdims=True)
    p, q = _log_softmax(one), _log_softmax(two)
    return {
        "relative_error": float(np.linalg.norm(two - one) / np.linalg.norm(one)),
        "kl_mean": float((np.exp(p) * (p - q)).sum(-1).mean()),
        "top1_agreement": float((one.argmax(-1) == two.argmax(-1)).mean()),
    }


def _log_softmax(values: Any) -> Any:
    import numpy as np

    values = values - values.max(-1, keepdims=True)
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def other_ids(made_folder: Path, tokenizer: Path) -> str:
    """The first text that the folder's tokenizer, or the library's own, cuts otherwise than the
    original's; empty where there is none."""
    import onnxruntime_genai
    from tokenizers import Tokenizer

    original = Tokenizer.from_file(str(tokenizer))
    copied = Tokenizer.from_file(str(made_folder / "tokenizer.json"))
    library = onnxruntime_genai.Tokenizer(onnxruntime_genai.Model(str(made_folder)))
    for text in SAMPLES:
        wanted = original.encode(text).ids
        for who, ids in (
            ("the folder's tokenizer.json", copied.encode(text).ids),
            ("onnxruntime-genai", [int(token) for token in library.encode(text)]),
        ):
            if ids != wanted:
                return f"{text!r}: {who} gives {ids}, the original's tokenizer {wanted}"
    return ""


def main(words: list[str]) -> int:
    """Carry out the plan."""
    path = Path(words[0])
    plan = json.loads(path.read_text(encoding="utf-8"))
    die_with(plan["parent"])
    import onnxruntime_genai

    onnxruntime_genai.disable_telemetry_events()
    folder = made(plan)
    result = {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "check": apart(
            original_logits(plan["model"], plan["rows"]), own_logits(folder, plan["rows"])
        ),
        "other_ids": other_ids(folder, Path(plan["tokenizer"])),
    }
    part = path.with_name("result.part")
    part.write_text(json.dumps(result), encoding="utf-8")
    part.replace(path.with_name("result.json"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
