"""The model card of `tiny`, written from what training recorded: nothing in it is typed by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from string import Template
from typing import Any

_CARD = Template("""\
---
license: apache-2.0
language: [en, code]
library_name: transformers
---

# tiny

A Llama of $parameters parameters, trained from nothing so that quantswarm can compare real servers,
and the damage that quantization does, on a machine that reaches no model hub. It writes text that
looks like Python; it knows nothing, and is of no use as an assistant.

| | |
|---|---|
| architecture | LlamaForCausalLM, embeddings and head untied |
| layers | $layers of width $width, feed-forward $feed_forward |
| attention | $heads heads of $head_size, $kv_heads KV heads |
| tokenizer | byte-level BPE, $vocabulary tokens, GPT-2's pre-tokenizer; no BOS is added |
| weights | bfloat16 safetensors, $weight_bytes bytes |
| positions | $positions accepted; trained on windows of $window tokens |
| held-out loss | **$loss nats a token**: perplexity **$perplexity** a token, $bits bits a byte |

## Data

The Python $python standard library, sources with their docstrings, without its tests and character
tables: $train_tokens tokens. Chat turns (what a function does, write this function) are made from
the docstrings. The library is © the Python Software Foundation, under the PSF License, which allows
this use. A file belongs to the held-out part when a hash of its path says so (about 5 % of the
files, $held_out_tokens tokens, $held_out_bytes bytes); nothing derived from it is trained on.
`held_out.txt` is its beginning, and the text that quantswarm makes prompts of.

## Recipe

$steps steps of $batch_tokens tokens ($epochs epochs), Muon for the blocks' matrices and AdamW for
the rest, linear warm-up, linear decay to zero, bfloat16 products where the processor has them and
float32 otherwise, seed 0, PyTorch $torch.$note Rebuild it, in one to two hours on two cores:

    make tiny

Another Python version has another standard library, and another processor rounds otherwise: a
rebuilt model is alike, not identical.

## Loss

![held-out and training loss over steps](loss.svg)

| step | training loss | held-out loss |
|---:|---:|---:|
$curve

Held-out losses before the last are of 64 windows, the last is of all of them, each window judged
without what precedes it.
""")


def write_card(folder: Path) -> None:
    """Write `README.md` and `loss.svg` beside `config.json` and `training.json`."""
    facts = json.loads((folder / "training.json").read_text())
    config = json.loads((folder / "config.json").read_text())
    (folder / "README.md").write_text(_CARD.substitute(_fields(facts, config, folder)))
    _plot(facts["curve"], folder / "loss.svg")


def _fields(facts: dict[str, Any], config: dict[str, Any], folder: Path) -> dict[str, str]:
    curve = facts["curve"]
    loss = curve[-1]["held_out_loss"]
    bits = loss / math.log(2) * facts["held_out_tokens"] / facts["held_out_bytes"]
    rows = (f"| {p['step']} | {p['train_loss']:.3f} | {p['held_out_loss']:.4f} |" for p in curve)
    return {
        "parameters": f"{facts['parameters']:,}",
        "width": str(config["hidden_size"]),
        "layers": str(config["num_hidden_layers"]),
        "heads": str(config["num_attention_heads"]),
        "kv_heads": str(config["num_key_value_heads"]),
        "head_size": str(config["head_dim"]),
        "feed_forward": str(config["intermediate_size"]),
        "vocabulary": f"{config['vocab_size']:,}",
        "positions": f"{config['max_position_embeddings']:,}",
        "weight_bytes": f"{(folder / 'model.safetensors').stat().st_size:,}",
        "loss": f"{loss:.4f}",
        "perplexity": f"{math.exp(loss):.2f}",
        "bits": f"{bits:.3f}",
        "window": str(facts["window"]),
        "python": facts["python"],
        "torch": facts["torch"],
        "train_tokens": f"{facts['train_tokens']:,}",
        "held_out_tokens": f"{facts['held_out_tokens']:,}",
        "held_out_bytes": f"{facts['held_out_bytes']:,}",
        "steps": f"{facts['steps']:,}",
        "batch_tokens": f"{facts['tokens_per_step']:,}",
        "note": f" {facts['note']}" if "note" in facts else "",
        "epochs": f"{facts['steps'] * facts['tokens_per_step'] / facts['train_tokens']:.1f}",
        "curve": "\n".join(rows),
    }


def _plot(curve: list[dict[str, float]], path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "tiny"  # the same curve gives the same file
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    steps = [point["step"] for point in curve]
    axes.plot(steps, [point["train_loss"] for point in curve], label="training (one batch)")
    axes.plot(steps, [point["held_out_loss"] for point in curve], label="held out")
    axes.set(xlabel="step", ylabel="nats a token")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
