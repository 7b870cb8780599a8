"""llama.cpp's own server: parallel slots, continuous batching, GGUF weights; CPU and GPU layers."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantswarm.engines import llamacpp_gpu, llamacpp_isa, llamacpp_kv, llamacpp_logits, options
from quantswarm.engines.base import Availability, Command, Engine, Precision, ServeSpec
from quantswarm.engines.hardware import gpus_or_reason
from quantswarm.engines.process import mapped_in
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import BadFile

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host
    from quantswarm.models.dequantize import Floats

OPTIONS = {
    "prefix_cache": "on|off: keep prompts in memory for later requests (off: measured work)",
    llamacpp_kv.OPTION: llamacpp_kv.MEANING,
    llamacpp_isa.OPTION: llamacpp_isa.MEANING,
    llamacpp_gpu.ATTENTION: llamacpp_gpu.MEANING,
}
AVX512_VARIANTS = (
    *("skylakex", "cannonlake", "cascadelake", "icelake"),
    *("cooperlake", "zen4", "sapphirerapids"),
)
NO_SERVER = "no llama-server: LLAMA_SERVER_BIN is not set, PATH has none, set-up has made none"

LOADER_CURE = "install CUDA's runtime and cuBLAS, or name their folder in LD_LIBRARY_PATH"


def tools_folder() -> Path:
    """Where set-up puts llama.cpp's programs and libraries."""
    from quantswarm.models.store import home

    return home() / "llama.cpp" / "current" / "bin"


def server_binary() -> Path | None:
    """`LLAMA_SERVER_BIN`, else `llama-server` of PATH, else set-up's own; None without any.

    `BadFile` when the variable is set and names nothing that can be run.
    """
    given = os.environ.get("LLAMA_SERVER_BIN")
    if given:
        if not (Path(given).is_file() and os.access(given, os.X_OK)):
            raise BadFile(
                f"LLAMA_SERVER_BIN={given}",
                "not a program that can be run",
                next_step="correct the variable, or unset it to use set-up's llama-server",
            )
        return Path(given)
    on_path = shutil.which("llama-server")
    if on_path is not None:
        return Path(on_path)
    built = tools_folder() / "llama-server"
    return built if built.is_file() else None


def libraries(folder: Path, prefix: str) -> tuple[str, ...]:
    """Names of the compute libraries (`libggml-cpu*`, say) beside llama.cpp's programs."""
    places = (folder, folder.parent / "lib")
    return tuple(sorted({file.name for p in places for file in p.glob(f"{prefix}*.so")}))


def build_device(folder: Path) -> str:
    """ "cuda" where the CUDA library was built beside the programs, else "cpu"."""
    return "cuda" if libraries(folder, "libggml-cuda") else "cpu"


def usable_device(folder: Path) -> tuple[str, str]:
    """(what this build computes on here; why it cannot, empty where it can)."""
    if build_device(folder) == "cpu" or not gpus_or_reason()[0]:
        return "cpu", ""
    lacking = llamacpp_gpu.missing_libraries(folder)
    if not lacking:
        return "cuda", ""
    return "cuda", f"its CUDA library needs {', '.join(lacking)}, which the loader cannot find"


def avx512_warning(folder: Path, isa: Sequence[str]) -> tuple[tuple[str, str, str, str], ...]:
    """A build without AVX-512 code on a host that has it halves llama.cpp's speed: say so."""
    built = libraries(folder, "libggml-cpu")
    wide = any(variant in name for name in built for variant in AVX512_VARIANTS)
    if "avx512f" not in isa or not built or wide:
        return ()
    return (
        (
            "narrow-build",
            f"this CPU has AVX-512; llama.cpp was built as {', '.join(built)} only",
            "a build for AVX2 costs about half the speed at several users",
            "run set-up here (make setup): it builds the library of this CPU's generation",
        ),
    )


def loaded_backends(log: str) -> tuple[str, ...]:
    """Compute libraries and CPU features that a llama.cpp log names, and the libraries in use."""
    names = [Path(path).name for path in re.findall(r"loaded \S+ backend from (\S+)", log)]
    names += [name for name in mapped_in(log) if name.startswith("libggml-")]
    names += llamacpp_gpu.devices(log)
    for features in re.findall(r"system_info:.*?\| (.*)", log):
        names += re.findall(r"(\w+) = [1-9]\d*", features)
    return tuple(dict.fromkeys(names))


class LlamaCpp(Engine):
    """`llama-server`, the same commit that made the GGUF files."""

    name: ClassVar[str] = "llamacpp"
    summary: ClassVar[str] = "llama.cpp's llama-server: slots, continuous batching; GGUF weights"
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {"gguf": ()}
    options: ClassVar[Mapping[str, str]] = OPTIONS
    gauges: ClassVar[Mapping[str, str]] = {
        "running": "llamacpp:requests_processing",
        "waiting": "llamacpp:requests_deferred",
        "computed_prompt_tokens": "llamacpp:prompt_tokens_total",
        "prefix_hits": "llamacpp:prompt_tokens_cached_total",
        "generation_tokens": "llamacpp:tokens_predicted_total",
        "generation_seconds": "llamacpp:tokens_predicted_seconds_total",
    }
    keeps_alive: ClassVar[bool] = False
    logprobs_by: ClassVar[str | None] = "llama"
    main_thread_computes: ClassVar[bool] = True
    scores_in_process: ClassVar[bool] = True

    def probe(self) -> Availability:
        """By looking for the program and the libraries beside it; nothing is started."""
        try:
            binary = server_binary()
        except BadFile as error:
            return Availability(
                available=False, reason=f"{error.asked}: {error.found}", cure=error.next_step
            )
        if binary is None:
            return Availability(available=False, reason=NO_SERVER, cure="make setup")
        folder = binary.resolve().parent
        device, reason = usable_device(folder)
        return Availability(
            available=not reason,
            version=_version(folder),
            device=device,
            reason=reason,
            cure=LOADER_CURE if reason else "",
        )

    def require_servable(self, artefact: Artefact, spec: ServeSpec) -> None:
        """A build that lacks the code for the instruction set that was asked for."""
        if llamacpp_isa.asked(spec.options):
            llamacpp_isa.require(server_binary())

    def make_ready(self, spec: ServeSpec) -> None:
        """The program that leaves wider instructions unused, where that was asked for."""
        binary = server_binary()
        if llamacpp_isa.asked(spec.options) and binary is not None:
            llamacpp_isa.make(binary)

    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        """`-c` is the context of all slots together: the server divides it."""
        assert artefact is not None, "prepare refuses llama.cpp without weights"
        given = options.checked(self.name, spec.options, OPTIONS)
        reasons = dict(spec.reasons)
        total = spec.slots * spec.context_tokens
        reasons["-c"] = (
            f"{spec.slots} slots × {spec.context_tokens} tokens: -np divides the context"
        )
        cache = llamacpp_kv.flags(given, flags, reasons)
        argv = [
            *(_program(given, reasons), "-m", str(artefact.path)),
            *("--alias", spec.served_name, "--host", spec.host, "--port", str(spec.port)),
            *("-np", str(spec.slots), "-cb", "-c", str(total)),
            *("-t", str(spec.threads), "-tb", str(spec.threads)),
            *_binding(spec, reasons),
            *flags,
            *cache,
            *("--metrics", "--no-webui"),
        ]
        if not options.switched_on(given, "prefix_cache"):
            argv += ["--no-cache-prompt", "--cache-ram", "0"]
            reasons["prefix_cache"] = "off: every prompt of a measurement is computed"
        argv += llamacpp_gpu.flags(given, spec, (*flags, *cache), reasons)
        proofs = [*_proved_by_log(argv)]
        if spec.log_requests or proofs:
            argv += ["--log-verbosity", "4"]
        if proofs:
            reasons["--log-verbosity"] = f"the lines that prove {' and '.join(proofs)} need it"
        if spec.api_key_file is not None:
            argv += ["--api-key-file", str(spec.api_key_file)]
        return Command(argv=tuple(argv), reasons=reasons)

    def pinned_fields(self, output_tokens: int) -> Mapping[str, Any]:
        """Its samplers' defaults differ from OpenAI's, so they are named."""
        return {
            "ignore_eos": True,
            "top_k": 1,
            "top_p": 1.0,
            "min_p": 0.0,
        }

    def kernels(self, log: str) -> tuple[str, ...]:
        """The compute library that was chosen at run time, and its CPU features."""
        return loaded_backends(log)

    def precision(self, argv: Sequence[str], log: str) -> Precision:
        """Float32 between operators; a quantized cache is rotated, values in blocks of 64."""
        keys = options.last_given(argv, "-ctk", "--cache-type-k") or "f16"
        values = options.last_given(argv, "-ctv", "--cache-type-v") or "f16"
        return Precision(
            dtype="float32",
            keys=llamacpp_kv.PLAIN.get(keys, f"rotated {keys}"),
            values=llamacpp_kv.PLAIN.get(values, f"rotated-64 {values}"),
        )

    def served_with(self, log: str) -> Mapping[str, Any]:
        """The cache that the server made, and its layers on a GPU where there is one."""
        return {**llamacpp_kv.facts(log), **llamacpp_gpu.facts(log)}

    def scored(
        self, argv: Sequence[str], windows: Sequence[Sequence[int]], log: Path
    ) -> Iterator[Floats]:
        """By the libraries beside the program that `argv` names."""
        return llamacpp_logits.rows(argv, Path(argv[0]).resolve().parent, windows, log)

    def remarks(
        self, quant: str | None, spec: ServeSpec, log: str
    ) -> tuple[tuple[str, str, str, str], ...]:
        """Layers that were to lie on a GPU, and do not."""
        return llamacpp_gpu.remarks(spec, log)

    def warnings(
        self, host: Host, quant: str | None, spec: ServeSpec
    ) -> tuple[tuple[str, str, str, str], ...]:
        """A build that leaves the CPU's wide instructions unused."""
        binary = server_binary()
        if binary is None or spec.device == "cuda" or llamacpp_isa.asked(spec.options):
            return ()
        return avx512_warning(binary.resolve().parent, host.isa)


def _program(given: Mapping[str, str], reasons: dict[str, str]) -> str:
    binary = server_binary()
    if not llamacpp_isa.asked(given):
        return str(binary or "llama-server")
    reasons[llamacpp_isa.OPTION] = (
        "avx2 was asked for: a copy of the program with llama.cpp's library for AVX2 alone beside"
        " it, so that wider instructions are left unused, where there are any"
    )
    return str(llamacpp_isa.place(binary) if binary else "llama-server")


def _proved_by_log(argv: Sequence[str]) -> Iterator[str]:
    """What only the log's fourth level shows."""
    if "-ctk" in argv:
        yield "the type of the cache"
    if "-ngl" in argv:
        yield "the layers on the GPU"


def _version(folder: Path) -> str | None:
    """Set-up names the folder after the version; elsewhere it cannot be known without a start."""
    built = tools_folder()
    return folder.parent.name if built.exists() and folder == built.resolve() else None


def _binding(spec: ServeSpec, reasons: dict[str, str]) -> tuple[str, ...]:
    """Compute threads bound one to a core; HTTP threads stay where the process may run.

    With one thread alone a build with OpenMP ignores the mask: that thread is bound after the start
    (see `main_thread_computes`).
    """
    if not spec.cores or spec.threads > len(spec.cores):
        reasons["-C"] = "more threads than cores of their own: not bound"
        return ()
    bound = spec.cores[: spec.threads]
    reasons["-C"] = f"compute threads stay on core {','.join(map(str, bound))}"
    mask = f"0x{sum(1 << core for core in bound):x}"
    return ("-C", mask, "--cpu-strict", "1")


ENGINE = LlamaCpp()
