"""A small model in every format, and a server that tells the numbers of the folder it is given."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from quantswarm.models.reference.checkpoint import Checkpoint
from quantswarm.models.reference.forward import Numerics, log_probabilities

WIDTH, INNER, GROUP, VOCABULARY = 64, 96, 32, 320
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": WIDTH,
    "intermediate_size": INNER, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "max_position_embeddings": 256,
}  # fmt: skip
AWQ_NIBBLES = [0, 2, 4, 6, 1, 3, 5, 7]
GENERATED = (7, 11)
"""What the stub "generates": any tokens will do, as the reference is asked about the same ones."""


def shapes() -> dict[str, tuple[int, int]]:
    """Every linear layer, [outputs, inputs]."""
    found = {}
    for number in range(2):
        at = f"model.layers.{number}"
        for name, outputs in (("q", WIDTH), ("k", WIDTH // 2), ("v", WIDTH // 2), ("o", WIDTH)):
            found[f"{at}.self_attn.{name}_proj"] = (outputs, WIDTH)
        found[f"{at}.mlp.gate_proj"] = found[f"{at}.mlp.up_proj"] = (INNER, WIDTH)
        found[f"{at}.mlp.down_proj"] = (WIDTH, INNER)
    return found


def words(numbers, axis, order=None):
    """Nibbles along an axis into int32, number order[place] at each place."""
    last = np.moveaxis(numbers, axis, -1)
    eights = last.reshape(*last.shape[:-1], -1, 8)
    if order:
        eights = eights[..., order]
    packed = (eights.astype(np.uint32) << (4 * np.arange(8, dtype=np.uint32))).sum(-1)
    return np.ascontiguousarray(np.moveaxis(packed.astype(np.uint32).view(np.int32), -1, axis))


def grouped(weight):
    """4-bit codes [out, in], zeros and scales [out, groups], and the weight they stand for."""
    parts = weight.reshape(len(weight), -1, GROUP)
    low, high = parts.min(-1), parts.max(-1)
    scales = ((high - low) / 15).astype(np.float16).astype(np.float32)
    zeros = np.clip(np.rint(-low / scales), 1, 15).astype(np.int64)
    codes = np.clip(np.rint(parts / scales[..., None]) + zeros[..., None], 0, 15).astype(np.int64)
    wide = ((codes - zeros[..., None]) * scales[..., None]).reshape(weight.shape)
    return codes.reshape(weight.shape), zeros, scales, wide.astype(np.float32)


def gptq(name, weight):
    codes, zeros, scales, wide = grouped(weight)
    return {
        f"{name}.qweight": words(codes.T, 0),
        f"{name}.qzeros": words(zeros.T - 1, 1),
        f"{name}.scales": np.ascontiguousarray(scales.T).astype(np.float16),
        f"{name}.g_idx": (np.arange(weight.shape[1]) // GROUP).astype(np.int32),
    }, wide


def awq(name, weight):
    codes, zeros, scales, wide = grouped(weight)
    return {
        f"{name}.qweight": words(codes.T, 1, AWQ_NIBBLES),
        f"{name}.qzeros": words(zeros.T, 1, AWQ_NIBBLES),
        f"{name}.scales": np.ascontiguousarray(scales.T).astype(np.float16),
    }, wide


def w4a16(name, weight):
    codes, zeros, scales, wide = grouped(weight)
    return {
        f"{name}.weight_packed": words(codes, 1),
        f"{name}.weight_zero_point": words(zeros, 0),
        f"{name}.weight_scale": scales,
        f"{name}.weight_shape": np.array(weight.shape, np.int64),
    }, wide


def int8(name, weight):
    scale = (np.abs(weight).max(1, keepdims=True) / 127).astype(np.float32)
    codes = np.rint(weight / scale).astype(np.int8)
    return {f"{name}.weight": codes, f"{name}.weight_scale": scale}, codes * scale


def compressed(bits, activations=None):
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": GROUP}
    group = {"weights": weights, "input_activations": activations}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}


BY_TOKEN = {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": True, "dynamic": True}
FORMATS = {
    "gptq": (gptq, {"quant_method": "gptq", "bits": 4}),
    "awq": (awq, {"quant_method": "awq", "bits": 4}),
    "w4a16": (w4a16, compressed(4)),
    "int8": (int8, compressed(8, BY_TOKEN)),
}


def write(folder: Path, tensors, config) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}), encoding="utf-8")
    return folder


def others(chance):
    found = {
        "model.embed_tokens.weight": chance.normal(0, 1, (VOCABULARY, WIDTH)),
        "lm_head.weight": chance.normal(0, 0.3, (VOCABULARY, WIDTH)),
        "model.norm.weight": np.ones(WIDTH),
    }
    for number in range(2):
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"model.layers.{number}.{name}.weight"] = np.ones(WIDTH)
    return {name: value.astype(np.float32) for name, value in found.items()}


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Path]:
    """`plain`; each format; and `FORMAT-wide`, the weights it stands for as float32."""
    root = tmp_path_factory.mktemp("models")
    chance = np.random.default_rng(0)
    rest = others(chance)
    plain = {
        name: chance.normal(0, 0.15, shape).astype(np.float32) for name, shape in shapes().items()
    }
    as_stored = {f"{name}.weight": value for name, value in plain.items()}
    found = {"plain": write(root / "plain", {**rest, **as_stored}, {})}
    for kind, (pack, scheme) in FORMATS.items():
        packed, wide = dict(rest), dict(rest)
        for name, weight in plain.items():
            stored, wide[f"{name}.weight"] = pack(name, weight)
            packed |= stored
        found[kind] = write(root / kind, packed, {"quantization_config": scheme})
        found[f"{kind}-wide"] = write(root / f"{kind}-wide", wide, {})
    return found


class Stub:
    """Answers in both dialects with the reference's numbers for one folder, changed by `bend`."""

    def __init__(self, folder: Path, numerics: Numerics, bend: Callable[..., Any]) -> None:
        self.weights = Checkpoint(folder, "stub")
        self.numerics = numerics
        self.bend = bend

    def told(self, ids):
        (rows,) = log_probabilities(self.weights, [ids], self.numerics)
        return self.bend(rows)

    def answer(self, path: str, asked):
        ids = [*asked["prompt"], *GENERATED]
        rows = self.told(ids)
        return (self.llama if path == "/completion" else self.echo)(asked, ids, rows)

    def echo(self, asked, ids, rows):
        shown = [f"token_id:{one}" for one in ids]
        top: list[Any] = [None]
        own: list[Any] = [None]
        for at in range(1, len(ids)):
            best = rows[at - 1].argsort()[::-1][: asked["logprobs"]]
            top.append({f"token_id:{one}": float(rows[at - 1][one]) for one in best})
            own.append(float(rows[at - 1][ids[at]]))
        told = {"tokens": shown, "token_logprobs": own, "top_logprobs": top}
        return {"choices": [{"logprobs": told}]}

    def llama(self, asked, ids, rows):
        first = len(asked["prompt"])
        told = []
        for at in range(first, len(ids)):
            best = rows[at - 1].argsort()[::-1][: asked["n_probs"]]
            top = [{"id": int(one), "logprob": float(rows[at - 1][one])} for one in best]
            own = float(rows[at - 1][ids[at]])
            told.append({"id": ids[at], "logprob": own, "top_logprobs": top})
        return {"tokens_evaluated": first, "completion_probabilities": told}


@pytest.fixture
def stub() -> Iterator[Callable[..., str]]:
    """`stub(folder, numerics, bend)` serves; it gives the base URL."""
    servers = []

    def start(folder: Path, numerics: Numerics | None = None, bend=lambda rows: rows) -> str:
        made = Stub(folder, numerics or Numerics(), bend)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.reply({"data": [{"id": "stub"}]})

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.reply(made.answer(self.path, asked))

            def reply(self, document):
                body = json.dumps(document).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
