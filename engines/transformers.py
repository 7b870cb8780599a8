"""transformers: `transformers serve`, what users start from; eager PyTorch, safetensors weights."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantswarm.engines import hardware, options, scoring_child, transformers_notes, vllm_dtype
from quantswarm.engines.base import Availability, Command, Engine, Precision, ServeSpec
from quantswarm.engines.installed import installed
from quantswarm.engines.process import FROM_FILE
from quantswarm.engines.transformers_serve import facts
from quantswarm.engines.transformers_serve.arguments import (
    INT8_DYNAMIC,
    KEY_VARIABLE,
    MOST_LOGPROBS,
)
from quantswarm.models import at_load
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import NoSpace, NotAvailable, UserMistake
from quantswarm.models.space import readable

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host
    from quantswarm.models.dequantize import Floats

BATCHING = "continuous_batching"
OPTIONS = {
    BATCHING: "on|off: its continuous batching (off: one request after another, its default)",
    vllm_dtype.OPTION: f"{'|'.join(vllm_dtype.CHOICES)}: what to compute in (the quantization's)",
}
NEEDED = ("torch", "fastapi", "uvicorn", "openai", "accelerate")
"""Packages that its server imports and that the package itself does not ask for."""
_PACKAGE = "quantswarm.engines.transformers_serve"
_WORKING_BYTES = 512 * 2**20
"""The interpreter with PyTorch, and what passes between operators."""


class Transformers(Engine):
    """`transformers serve` by its own classes, on one local folder (docs/transformers.md)."""

    name: ClassVar[str] = "transformers"
    summary: ClassVar[str] = "transformers serve: eager PyTorch, the baseline; safetensors weights"
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {"safetensors": ()}
    unloadable: ClassVar[Mapping[str, str]] = {
        "gptq": "transformers multiplies GPTQ weights by GPTQModel's kernels, through optimum;"
        " set-up installs neither beside vLLM.",
        "awq": "transformers multiplies AWQ weights by GPTQModel's kernels, which set-up does not"
        " install beside vLLM.",
        "compressed-tensors": "transformers unpacks these weights to floats before their first"
        " product.",
        "gguf": "transformers unpacks GGUF weights to floats unless the package kernels brings it"
        " a product, which set-up does not install.",
    }
    options: ClassVar[Mapping[str, str]] = OPTIONS
    metrics_path: ClassVar[str | None] = None
    logprobs_by: ClassVar[str | None] = "echo"
    widens: ClassVar[bool] = True
    one_at_a_time: ClassVar[bool] = True
    most_logprobs: ClassVar[int] = MOST_LOGPROBS
    scores_in_process: ClassVar[bool] = True

    def probe(self) -> Availability:
        """By package metadata alone: importing it takes seconds."""
        version, reason = installed("transformers", NEEDED)
        device = "cpu" if reason else _device()
        return Availability(
            available=not reason,
            version=version,
            device=None if version is None else device,
            reason=reason,
            cure="make setup" if reason else "",
        )

    def streams(self, spec: ServeSpec) -> int:
        """One, unless continuous batching is on."""
        return spec.slots if options.switched_on(spec.options, BATCHING) else 1

    def require_servable(self, artefact: Artefact, spec: ServeSpec) -> None:
        """`NotAvailable` without bitsandbytes where it is to quantize, `NoSpace` for a model that
        this machine's memory cannot hold; nothing for weights that are not there yet."""
        if not (artefact.path / "config.json").is_file():
            return
        asked = f"{artefact.quant} of {artefact.model} by {self.name}"
        if artefact.quant.startswith("bnb-") and importlib.util.find_spec("bitsandbytes") is None:
            raise NotAvailable(asked, "bitsandbytes is not installed", next_step="make setup")
        _require_memory(artefact, spec, asked)

    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        """A process of ours around its classes: its own command serves no local folder by name."""
        assert artefact is not None, "prepare refuses transformers without weights"
        given = options.checked(self.name, spec.options, OPTIONS)
        reasons = dict(spec.reasons)
        reasons["eager"] = "PyTorch's operators one after another, as transformers serve has it"
        flags += _dtype(given, spec, flags, reasons)
        argv = [
            *(sys.executable, "-m", f"{_PACKAGE}.launch"),
            *("--model", str(artefact.path), "--served-name", spec.served_name),
            *("--host", spec.host, "--port", str(spec.port)),
            *("--threads", str(spec.threads), *_binding(spec, reasons)),
            *("--context", str(spec.context_tokens), "--device", spec.device),
            *flags,
            *_batching(given, spec, reasons),
        ]
        if spec.log_requests:
            argv.append("--log-requests")
        env = {
            "OMP_NUM_THREADS": str(spec.threads),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "TOKENIZERS_PARALLELISM": "false",
        }
        reasons["HF_HUB_OFFLINE"] = "the weights are local"
        if spec.api_key_file is not None:
            env[KEY_VARIABLE] = f"{FROM_FILE}{spec.api_key_file}"
        return Command(argv=tuple(argv), env=env, reasons=reasons)

    def pinned_fields(self, output_tokens: int) -> Mapping[str, Any]:
        """Usage in every chunk: an event may hold several tokens, and only usage counts them."""
        return {
            "ignore_eos": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }

    def kernels(self, log: str) -> tuple[str, ...]:
        """The operator of most products, and that of attention."""
        found = facts.loaded(log)
        names = (found.get("product"), found.get("attention"))
        return tuple(name for name in names if name)

    def served_with(self, log: str) -> Mapping[str, Any]:
        """The product, and the cache of continuous batching: else it grows with each request."""
        cache = facts.cache(log)
        return {
            "kernel": facts.loaded(log).get("product"),
            "kv_cache_dtype": cache.get("dtype") or facts.loaded(log).get("dtype"),
            "kv_cache_tokens": cache.get("tokens"),
        }

    def precision(self, argv: Sequence[str], log: str) -> Precision:
        """What passes between operators is of the command's type, whatever the weights are."""
        return Precision(dtype=options.last_given(argv, "--dtype"))

    def scored(
        self, argv: Sequence[str], windows: Sequence[Sequence[int]], log: Path
    ) -> Iterator[Floats]:
        """By a model loaded in another process as the server loads it."""
        own = argv[argv.index(f"{_PACKAGE}.launch") + 1 :]
        return scoring_child.rows(
            f"{_PACKAGE}.score",
            {"argv": list(own), "windows": [list(ids) for ids in windows]},
            windows,
            log,
            env={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(_threads(own))},
            about=f"log-probabilities of {Path(_model(own)).name} by transformers in process",
        )

    def warnings(
        self, host: Host, quant: str | None, spec: ServeSpec
    ) -> tuple[tuple[str, str, str, str], ...]:
        """Products that are emulated, and what one request's neighbours change."""
        batched = options.switched_on(spec.options, BATCHING)
        return transformers_notes.beforehand(host, quant, spec, batched=batched)

    def remarks(
        self, quant: str | None, spec: ServeSpec, log: str
    ) -> tuple[tuple[str, str, str, str], ...]:
        """What was not quantized, and a product that is a fall-back."""
        return transformers_notes.afterwards(quant, facts.loaded(log))


def _device() -> str:
    """By the build of PyTorch, and whether there is a GPU."""
    if "+cpu" in importlib.metadata.version("torch"):
        return "cpu"
    return "cuda" if hardware.gpus_or_reason()[0] else "cpu"


def _dtype(
    given: Mapping[str, str], spec: ServeSpec, flags: tuple[str, ...], reasons: dict[str, str]
) -> tuple[str, ...]:
    """`--dtype` where the recipe leaves it open, or the user wants another than the recipe."""
    quantize = options.last_given(flags, "--quantize")
    asked = given.get(vllm_dtype.OPTION)
    if quantize == INT8_DYNAMIC and asked not in (None, "float32"):
        raise UserMistake(
            f"option {vllm_dtype.OPTION}={asked} with {INT8_DYNAMIC}",
            "PyTorch's dynamic product takes and gives float32 only",
            next_step=f"leave {vllm_dtype.OPTION} out",
        )
    found = vllm_dtype.flags(given, spec.device, quantize or "safetensors", flags, reasons)
    if found or options.last_given(flags, "--dtype"):
        return found
    reasons[vllm_dtype.OPTION] = "bfloat16: the type that most checkpoints are stored in"
    return ("--dtype", "bfloat16")


def _batching(
    given: Mapping[str, str], spec: ServeSpec, reasons: dict[str, str]
) -> tuple[str, ...]:
    if not options.switched_on(given, BATCHING):
        reasons["slots"] = (
            "one at a time, whatever was asked: transformers serve generates on one thread"
            f" ({BATCHING}=on computes requests together)"
        )
        return ()
    reasons[BATCHING] = "on: asked for; greedy requests, one cache of pages for all"
    return ("--continuous-batching", str(spec.slots))


def _binding(spec: ServeSpec, reasons: dict[str, str]) -> tuple[str, ...]:
    """The computing thread and those it starts stay on the compute cores; HTTP is not bound."""
    if not spec.cores or spec.threads > len(spec.cores):
        reasons["--cores"] = "more threads than cores of their own: not bound"
        return ()
    bound = ",".join(map(str, spec.cores[: spec.threads]))
    reasons["--cores"] = f"compute threads stay on core {bound}"
    return ("--cores", bound)


def _require_memory(artefact: Artefact, spec: ServeSpec, asked: str) -> None:
    """Against all memory of the machine: what is free now may be another server's for a moment."""
    total = options.number(spec.options, "memory_bytes")
    if total is None or spec.device != "cpu":
        return
    needed = at_load.loading_bytes(artefact, _COMPUTED.get(artefact.quant, "bfloat16"))
    if needed + _WORKING_BYTES > total:
        raise NoSpace(
            asked,
            f"needs {readable(needed)} for its weights while it loads, and this machine has"
            f" {readable(int(total))} of memory in all",
            evidence=f"Counted from the headers of the weights in {artefact.path}.",
            next_step="a smaller model, --quant bf16, or --engine llamacpp --quant q4_k_m",
        )


_COMPUTED = {"fp32": "float32", "int8-dynamic": "float32", "fp16": "float16"}


def _threads(own: Sequence[str]) -> str:
    return options.last_given(own, "--threads") or "1"


def _model(own: Sequence[str]) -> str:
    return options.last_given(own, "--model") or ""


ENGINE = Transformers()
