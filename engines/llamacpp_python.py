"""llama-cpp-python's server: one request after another, the "no batching" baseline."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantswarm.engines import llamacpp_kv
from quantswarm.engines.base import Availability, Command, Engine, Precision, ServeSpec
from quantswarm.engines.installed import installed
from quantswarm.engines.llamacpp import (
    LOADER_CURE,
    avx512_warning,
    loaded_backends,
    tools_folder,
    usable_device,
)
from quantswarm.engines.options import checked, last_given
from quantswarm.engines.process import FROM_FILE
from quantswarm.models.artefact import Artefact

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host

NEEDED = ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")
"""Packages that its server imports and that the package itself does not ask for."""


def library_folder() -> Path:
    """llama.cpp's shared libraries: `LLAMA_CPP_LIB_PATH`, else those that llama-server uses."""
    given = os.environ.get("LLAMA_CPP_LIB_PATH")
    return Path(given) if given else tools_folder()


class LlamaCppPython(Engine):
    """`python -m llama_cpp.server`, on the very libraries that llama-server uses."""

    name: ClassVar[str] = "llamacpp-python"
    summary: ClassVar[str] = "llama-cpp-python's server: serial, the baseline without batching"
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {"gguf": ()}
    health_path: ClassVar[str] = "/v1/models"
    metrics_path: ClassVar[str | None] = None
    one_at_a_time: ClassVar[bool] = True

    def probe(self) -> Availability:
        """By package metadata and by the libraries' presence."""
        version, reason = installed("llama-cpp-python", NEEDED)
        if version is None:
            return Availability(available=False, reason=reason, cure="make setup")
        folder = library_folder()
        if not reason and not (folder / "libllama.so").exists():
            reason = f"no libllama.so in {folder} (LLAMA_CPP_LIB_PATH or set-up's own)"
        device, unusable = usable_device(folder)
        cure = "make setup" if reason else LOADER_CURE if unusable else ""
        return Availability(
            available=not (reason or unusable),
            version=version,
            device=device,
            reason=reason or unusable,
            cure=cure,
        )

    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        """A running stream is never cut for the next request: `--interrupt_requests False`."""
        assert artefact is not None, "prepare refuses llama-cpp-python without weights"
        checked(self.name, spec.options, {})
        reasons = dict(spec.reasons)
        reasons["slots"] = (
            "one at a time, whatever was asked: its server holds a lock for a request"
        )
        reasons["interrupt_requests"] = "off: else a waiting request cuts the running stream"
        argv = [
            *(sys.executable, "-m", "quantswarm.engines.llama_cpp_launch"),
            *("--model", str(artefact.path), "--model_alias", spec.served_name),
            *("--host", spec.host, "--port", str(spec.port)),
            *("--n_ctx", str(spec.context_tokens)),
            *("--n_threads", str(spec.threads), "--n_threads_batch", str(spec.threads)),
            *("--interrupt_requests", "False"),
            *flags,
        ]
        if spec.device == "cuda":
            argv += ["--n_gpu_layers", str(spec.gpu_layers)]
        env = {"LLAMA_CPP_LIB_PATH": str(library_folder())}
        if spec.api_key_file is not None:
            env["API_KEY"] = f"{FROM_FILE}{spec.api_key_file}"
        return Command(argv=tuple(argv), env=env, reasons=reasons)

    def pinned_fields(self, output_tokens: int) -> Mapping[str, Any]:
        """It knows no `ignore_eos`; its own defaults would also punish repetition."""
        return {
            "min_tokens": output_tokens,
            "top_k": 1,
            "top_p": 1.0,
            "min_p": 0.0,
            "repeat_penalty": 1.0,
        }

    def kernels(self, log: str) -> tuple[str, ...]:
        """The compute library that was chosen at run time."""
        return loaded_backends(log)

    def precision(self, argv: Sequence[str], log: str) -> Precision:
        """As llama-server; the cache's types are given as ggml's numbers."""
        return Precision(
            dtype="float32",
            keys=_cache(last_given(argv, "--type_k")),
            values=_cache(last_given(argv, "--type_v")),
        )

    def warnings(
        self, host: Host, quant: str | None, spec: ServeSpec
    ) -> tuple[tuple[str, str, str, str], ...]:
        """As for llama-server, whose libraries it uses."""
        return () if spec.device == "cuda" else avx512_warning(library_folder(), host.isa)


def _cache(number: str | None) -> str | None:
    """The type's name from its number, None for a number that recipes never give."""
    if number is None:
        return "float16"
    names = {str(known): name for name, known in llamacpp_kv.TYPES.items()}
    kind = names.get(number)
    return llamacpp_kv.PLAIN.get(kind, kind) if kind is not None else None


ENGINE = LlamaCppPython()
