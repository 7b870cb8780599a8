"""ONNX Runtime: graphs run by onnxruntime-genai, behind a small server of ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantswarm.engines import options
from quantswarm.engines.base import Availability, Command, Engine, Precision, ServeSpec
from quantswarm.engines.installed import installed
from quantswarm.engines.onnx_serve.said import KEY_VARIABLE, MOST_TOGETHER, cache_in, products_in
from quantswarm.engines.process import FROM_FILE
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import UserMistake
from quantswarm.models.space import require_memory

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host
    from quantswarm.models.dequantize import Floats

NEEDED = ("onnxruntime", "starlette", "uvicorn", "tokenizers")
OPTIONS = {
    "batching": "static|off: up to four requests together, or one after another (static)",
    "batch_wait_ms": "the longest wait, after a batch, for those who were there before (10)",
}
DEFAULT_WAIT_MS = 10.0
_LIBRARIES_BYTES = 300 * 2**20
_HELD = 1.1
"""Weights in memory, beside their size on disk: 1.0 was seen at the highest of a load."""
_EXACT_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")


class OnnxRuntime(Engine):
    """`python -m quantswarm.engines.onnx_serve.server_main`; onnxruntime-genai has no server."""

    name: ClassVar[str] = "onnxruntime"
    summary: ClassVar[str] = "ONNX Runtime (onnxruntime-genai): static batches of up to four"
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {"onnx": ()}
    unloadable: ClassVar[Mapping[str, str]] = {
        "safetensors": "onnxruntime loads graphs: --quant onnx-fp32 exports the same weights."
    }
    options: ClassVar[Mapping[str, str]] = OPTIONS
    gauges: ClassVar[Mapping[str, str]] = {
        "running": "quantswarm_onnx:num_requests_running",
        "waiting": "quantswarm_onnx:num_requests_waiting",
        "prompt_tokens": "quantswarm_onnx:prompt_tokens_total",
        "generation_tokens": "quantswarm_onnx:generation_tokens_total",
    }
    logprobs_by: ClassVar[str | None] = "echo"
    most_logprobs: ClassVar[int] = 64
    scores_in_process: ClassVar[bool] = True

    def probe(self) -> Availability:
        """By package metadata alone."""
        version, reason = installed("onnxruntime-genai", NEEDED)
        return Availability(
            available=not reason,
            version=version,
            device=None if version is None else "cpu",
            reason=reason,
            cure="make setup" if reason else "",
        )

    def require_servable(self, artefact: Artefact, spec: ServeSpec) -> None:
        """Memory for weights and the cache of a full batch, before minutes of loading."""
        cache = int(spec.options.get("kv_elements_per_token", "0")) * 4
        rows = min(spec.slots, MOST_TOGETHER)
        needed = int(artefact.weights_bytes * _HELD) + rows * spec.context_tokens * cache
        asked = f"{artefact.quant} of {artefact.model} for {rows} requests at once"
        require_memory(needed + _LIBRARIES_BYTES, asked)

    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        """The library's own limit on a batch is kept below, and said."""
        assert artefact is not None, "prepare refuses onnxruntime without weights"
        given = options.checked(self.name, spec.options, OPTIONS)
        reasons = dict(spec.reasons)
        slots = _slots(given, spec, reasons)
        wait_ms = options.number(given, "batch_wait_ms")
        argv = [
            *(sys.executable, "-m", "quantswarm.engines.onnx_serve.server_main"),
            *("--model", str(artefact.path), "--served-model-name", spec.served_name),
            *("--host", spec.host, "--port", str(spec.port)),
            *("--context", str(spec.context_tokens), "--slots", str(slots)),
            *("--threads", str(spec.threads), *_binding(spec, reasons)),
            *("--batch-wait-ms", f"{DEFAULT_WAIT_MS if wait_ms is None else wait_ms:g}"),
            *flags,
        ]
        reasons["--batch-wait-ms"] = (
            "a batch that runs takes nobody in: after one, those who were there are waited for"
        )
        if spec.log_requests:
            argv.append("--log-requests")
        env = {}
        if spec.api_key_file is not None:
            env[KEY_VARIABLE] = f"{FROM_FILE}{spec.api_key_file}"
        return Command(argv=tuple(argv), env=env, reasons=reasons)

    def pinned_fields(self, output_tokens: int) -> Mapping[str, Any]:
        """Usage in every chunk, as for vLLM."""
        return {
            "ignore_eos": True,
            "min_tokens": output_tokens,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }

    def kernels(self, log: str) -> tuple[str, ...]:
        """The operators that multiply with weights, as the server read them in the graph."""
        return tuple(f"onnxruntime:{name}" for name in products_in(log))

    def served_with(self, log: str) -> Mapping[str, Any]:
        """The products, and the cache that a full batch has."""
        dtype, tokens = cache_in(log)
        kernel = " ".join(self.kernels(log)) or None
        return {"kernel": kernel, "kv_cache_dtype": dtype, "kv_cache_tokens": tokens}

    def precision(self, argv: Sequence[str], log: str) -> Precision:
        """Exports for the CPU pass float32 between operators and into the cache."""
        return Precision(dtype="float32", keys="float32", values="float32")

    def scored(
        self, argv: Sequence[str], windows: Sequence[Sequence[int]], log: Path
    ) -> Iterator[Floats]:
        """By the same library, in a child process."""
        from quantswarm.engines import scoring_child

        folder = options.last_given(argv, "--model") or ""
        request = {
            "model": folder,
            "threads": int(options.last_given(argv, "--threads") or 1),
            "windows": [list(ids) for ids in windows],
        }
        return scoring_child.rows(
            "quantswarm.engines.onnx_serve.score",
            request,
            windows,
            log,
            env={},
            about=f"log-probabilities of {Path(folder).name} by onnxruntime-genai in process",
        )

    def warnings(
        self, host: Host, quant: str | None, spec: ServeSpec
    ) -> tuple[tuple[str, str, str, str], ...]:
        """Batches that stay small, rows that change each other, 8-bit products without VNNI."""
        return (*_batch_warning(spec), *_row_warning(quant, spec), *_isa_warning(quant, host.isa))


def _slots(given: Mapping[str, str], spec: ServeSpec, reasons: dict[str, str]) -> int:
    batching = given.get("batching", "static")
    if batching not in ("static", "off"):
        raise UserMistake(
            f"option batching={batching}",
            "must be static or off",
            evidence="Batches that take requests in as they run need a GPU (docs/onnxruntime.md).",
            next_step="--option batching=off",
        )
    if batching == "off":
        reasons["--slots"] = "batching=off was asked for: one request after another"
        return 1
    if spec.slots > MOST_TOGETHER:
        reasons["--slots"] = (
            f"{MOST_TOGETHER} of {spec.slots}: the library's static batches have no more rows on a"
            " CPU; the others wait"
        )
    return min(spec.slots, MOST_TOGETHER)


def _binding(spec: ServeSpec, reasons: dict[str, str]) -> tuple[str, ...]:
    if not spec.cores or spec.threads > len(spec.cores):
        reasons["--cores"] = "more threads than cores of their own: not bound"
        return ()
    bound = ",".join(map(str, spec.cores[: spec.threads]))
    reasons["--cores"] = f"compute threads stay on core {bound}"
    return ("--cores", bound)


def _batch_warning(spec: ServeSpec) -> Iterator[tuple[str, str, str, str]]:
    if spec.slots > MOST_TOGETHER and spec.options.get("batching", "static") == "static":
        yield (
            "small-batches",
            f"{spec.slots} users at once, and at most {MOST_TOGETHER} are computed together",
            "continuous batching needs paged attention, which onnxruntime-genai has on CUDA alone",
            "read waiting times as this engine's own; compare engines at up to 4 users as well",
        )


def _row_warning(quant: str | None, spec: ServeSpec) -> Iterator[tuple[str, str, str, str]]:
    batched = spec.slots > 1 and spec.options.get("batching", "static") == "static"
    if quant == "onnx-int8" and batched:
        yield (
            "rows-change-each-other",
            "an answer may differ with what is computed beside it",
            "dynamic INT8 has one scale for all activations of a batch, its padding included",
            "--quant onnx-int8-block has scales by row; --option batching=off has one row",
        )


def _isa_warning(quant: str | None, isa: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    if quant not in ("onnx-int8", "onnx-int8-block", "onnx-int4") or set(isa) & {*_EXACT_INT8}:
        return
    saturating = quant == "onnx-int8"
    yield (
        "emulated-int8",
        f"{quant} on a CPU without VNNI",
        "pairs of 8-bit products are added in 16 bits, where sums saturate"
        if saturating
        else "8-bit products are put together from several instructions",
        "measure speed and quality on this machine, beside onnx-fp32",
    )


ENGINE = OnnxRuntime()
