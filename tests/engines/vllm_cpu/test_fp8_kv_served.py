"""A served model with an FP8 cache against transformers, whose cache is rounded by other code.

One server a case, eager. Log-probabilities of the prompts' own tokens, float32 throughout.

Rounding is not continuous: where a key lies between two codes, float32's last bit decides, and
every later token sees another key, and another one lies elsewhere. The reference, disturbed by
3e-7 before it rounds, mostly equals itself in prompts of 40 tokens (0 to 2e-3) and differs by 3e-3
in those of 700 (docs/fp8-kv.md). So short prompts hold the bound, by their median, and the long
one is told apart from other caches.
"""

from __future__ import annotations

import dataclasses
import json
import urllib.request
from contextlib import contextmanager

import pytest

from quantswarm.engines import hardware
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import running
from quantswarm.models import store
from quantswarm.models.recipes import recipe_named
from quantswarm.models.source import resolve

pytestmark = pytest.mark.engines
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("vllm", reason="vLLM is not installed")

SHORT, SHORTS, LONG = 40, 8, 700
"""Tokens of a short prompt, how many there are, and tokens of the long one: more than one chunk."""
BUDGET = 512
"""Tokens of a step: the longest prompt is computed in chunks."""


@pytest.fixture(scope="module")
def artefact():
    return store.artefact(resolve("tiny"), recipe_named("fp32"))


@pytest.fixture(scope="module")
def prompts(artefact):
    from tokenizers import Tokenizer

    text = (artefact.path / "held_out.txt").read_text(encoding="utf-8")
    ids = Tokenizer.from_file(str(artefact.path / "tokenizer.json")).encode(text).ids
    starts = range(1000, 1000 + SHORTS * 300, 300)
    return [ids[:LONG], *(ids[start : start + SHORT] for start in starts)]


@contextmanager
def serving(artefact, log, **options):
    engine = engine_named("vllm")
    if not engine.probe().available:
        pytest.skip(f"vLLM cannot run: {engine.probe().reason}")
    asked = ServeOptions(port=0, users=4, eager=True, engine_options=options)
    prepared = prepare(engine, recipe_named("fp32"), artefact, asked)
    flags = (*prepared.flags, "--max-num-batched-tokens", str(BUDGET))
    spec = dataclasses.replace(prepared.spec, served_name="tiny")
    with running(engine, artefact, spec, flags, log=log) as server:
        yield server


def logprobs(server, prompt):
    body = {"model": "tiny", "prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 0}
    request = urllib.request.Request(
        f"{server.base_url}/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        found = json.load(answer)["choices"][0]["logprobs"]["token_logprobs"]
    return torch.tensor(found[1:])


def reference(artefact, prompt, narrow):
    """From transformers, with `narrow` of every key (after its rotation) and value."""
    from transformers import AutoModelForCausalLM, DynamicCache

    class Narrowed(DynamicCache):  # type: ignore[misc]  # transformers has no types
        def update(self, key_states, value_states, *rest, **named):
            return super().update(narrow(key_states), narrow(value_states), *rest, **named)

    model = AutoModelForCausalLM.from_pretrained(artefact.path, dtype=torch.float32)
    ids = torch.tensor([prompt])
    with torch.no_grad():
        logits = model(ids, past_key_values=Narrowed(), use_cache=True).logits[0]
    scores = torch.log_softmax(logits, -1)
    return scores[:-1].gather(1, ids[0, 1:, None])[:, 0]


def nearest(x):
    return x.clamp(-448, 448).to(torch.float8_e4m3fn).to(x.dtype)


def toward_zero(x):
    """e4m3 by cutting off what does not fit: three bits of mantissa, 2^-9 at the least."""
    exponent = torch.frexp(x).exponent
    step = torch.exp2((exponent.float() - 4).clamp(min=-9))
    return torch.trunc(x / step) * step


def long_error(found, wanted):
    return float((found[0] - wanted[0]).abs().mean())


def short_error(found, wanted):
    """The median prompt's mean."""
    means = [(f - w).abs().mean() for f, w in zip(found[1:], wanted[1:], strict=True)]
    return float(torch.stack(means).median())


def has_avx512():
    return bool({"avx512f", "amx_tile"} & set(hardware.host().isa))


@pytest.fixture(scope="module")
def rounded(artefact, prompts):
    return [reference(artefact, prompt, nearest) for prompt in prompts]


def test_the_cache_costs_something(artefact, prompts, rounded):
    """Else agreement would show nothing."""
    exact = [reference(artefact, prompt, lambda x: x) for prompt in prompts]
    assert short_error(exact, rounded) > 1e-2
    assert long_error(exact, rounded) > 3e-2


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
@pytest.mark.parametrize("prefix_cache", ["off", "on"])
def test_it_is_exact(artefact, prompts, rounded, tmp_path, isa, prefix_cache):
    if isa == "avx512" and not has_avx512():
        pytest.skip("this processor has no AVX-512")
    forced = {"isa": "avx2"} if isa == "avx2" else {}
    log = tmp_path / "log"
    with serving(
        artefact, log, kv_cache_dtype="fp8", prefix_cache=prefix_cache, **forced
    ) as server:
        found = [logprobs(server, prompt) for prompt in prompts]
        again = [logprobs(server, prompt) for prompt in prompts]
    told = engine_named("vllm").served_with(log.read_text())
    for answers in (found, again):
        assert short_error(answers, rounded) < 5e-4
        assert long_error(answers, rounded) < 1e-2
    kernel = {"avx2": "quantswarm:fp8_kv.avx2", "avx512": "quantswarm:fp8_kv.round+cpu_attn"}
    assert told["kernel"] == kernel[isa]
    assert told["kv_cache_dtype"] == "fp8_e4m3"
    # 1 GiB: two numbers of 64 for each of 2 heads and 8 layers, a byte each
    assert told["kv_cache_tokens"] == 2**30 // (2 * 64 * 2 * 8)


def test_upstream_truncates(artefact, prompts, rounded, tmp_path):
    if not has_avx512():
        pytest.skip("this processor has no AVX-512: upstream refuses")
    with serving(artefact, tmp_path / "log", kv_cache_dtype="fp8-upstream") as server:
        found = [logprobs(server, prompt) for prompt in prompts]
    truncated = [reference(artefact, prompt, toward_zero) for prompt in prompts]
    assert short_error(found, truncated) < 5e-4
    assert short_error(found, rounded) > 1e-2
