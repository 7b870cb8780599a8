"""What an engine is. Read this first: an engine is one file that defines `ENGINE`, an `Engine`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from quantswarm.models.artefact import Artefact

if TYPE_CHECKING:
    from quantswarm.engines.hardware import Host
    from quantswarm.models.dequantize import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether an engine can run here; `reason` says why (not), `cure` what would change that."""

    available: bool
    version: str | None = None
    device: str | None = None
    reason: str = ""
    cure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSpec:
    """What the caller wants of a server. Placement is decided before, so that `command` stays pure.

    `threads` and `cores` are the server's; `cores` is empty when it is not pinned. `slots` is the
    number of requests served at once, `context_tokens` the room of each. `gpu_layers` is the number
    of layers on the GPU, or -1 for all; 0 without a GPU. `reasons` explains automatic choices.
    `served_name` is the model id that clients use. `eager` skips the engine's graph compilation.
    """

    host: str
    port: int
    served_name: str
    threads: int
    cores: tuple[int, ...]
    slots: int
    context_tokens: int
    device: str = "cpu"
    gpu_layers: int = 0
    eager: bool = False
    api_key_file: Path | None = None
    log_requests: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run: `env` holds only the variables added to the caller's environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What a server computes with, as far as its command and its log say.

    `dtype` (float32, bfloat16, float16) is the type of what passes between operators, `keys` and
    `values` are the types of the key-value cache where they are others. None: it is not said.
    """

    dtype: str | None = None
    keys: str | None = None
    values: str | None = None


class Engine(ABC):
    """A server program with an OpenAI-compatible endpoint under `/v1`."""

    name: ClassVar[str]
    summary: ClassVar[str]
    formats: ClassVar[Mapping[str, tuple[str, ...]]]
    """Weight format it can load → the flags that say so; `{}` for an engine without weights."""
    unloadable: ClassVar[Mapping[str, str]] = {}
    """Weight format that users expect of it and do not get → why, and where they would."""
    health_path: ClassVar[str] = "/health"
    metrics_path: ClassVar[str | None] = "/metrics"
    gauges: ClassVar[Mapping[str, str]] = {}
    """Our name of what the server counts → its metric under `metrics_path` (a histogram: its base).

    running, waiting (requests now), kv_cache_use (0 to 1), preemptions, generation_tokens,
    prompt_tokens (all) or computed_prompt_tokens (without those from the cache), prefix_queries
    and prefix_hits (prompt tokens looked up, and found), ttft, itl and queue_time (histograms,
    seconds), generation_seconds (spent on generation_tokens, summed over requests).
    """
    options: ClassVar[Mapping[str, str]] = {}
    """Its own options (`--option NAME=VALUE`), with what each means. "prefix_cache" (on or off) is
    turned on by itself for load whose prompts share their beginnings."""
    keeps_alive: ClassVar[bool] = True
    """False where the server closes the connection after a streamed answer."""
    main_thread_computes: ClassVar[bool] = False
    """True where a single compute thread is the program's main thread: it is bound once it runs."""
    logprobs_by: ClassVar[str | None] = None
    """How it is asked for log-probabilities: "echo" (OpenAI's completions with echo and token ids)
    or "llama" (llama-server's /completion); None where it cannot tell them."""
    widens: ClassVar[bool] = False
    """True where unquantized weights are held in the type that is computed in, whatever the
    checkpoint stores; False where they are multiplied as they are stored."""
    one_at_a_time: ClassVar[bool] = False
    """True where requests are served one after another, whatever the number of slots."""
    most_logprobs: ClassVar[int] = 20
    """The likeliest tokens that its server, as we start it, tells at each place."""
    scores_in_process: ClassVar[bool] = False
    """True where `scored` gives whole distributions by the libraries that serve."""
    start_timeout_s: ClassVar[float] = 600.0

    @abstractmethod
    def probe(self) -> Availability:
        """Look, without starting anything, whether the engine can run here."""

    @abstractmethod
    def command(
        self, artefact: Artefact | None, spec: ServeSpec, flags: tuple[str, ...]
    ) -> Command:
        """The server's argv and environment; pure. `flags` come from format and recipe."""

    def require_servable(self, artefact: Artefact, spec: ServeSpec) -> None:
        """Raise what the server would find out minutes later: `UnsupportedPair` where these very
        weights cannot be served so. Looks at files and headers, starts and changes nothing."""
        return

    def streams(self, spec: ServeSpec) -> int:
        """Requests whose tokens a step computes together, at most."""
        return 1 if self.one_at_a_time else spec.slots

    def make_ready(self, spec: ServeSpec) -> None:
        """Make what the command needs on disk beside the weights; called just before the start."""
        return

    def pinned_fields(self, output_tokens: int) -> Mapping[str, Any]:
        """Request fields, beyond OpenAI's, that make an answer exactly `output_tokens` long."""
        return {}

    def kernels(self, log: str) -> tuple[str, ...]:
        """Names of the compute kernels that the server's log says it uses."""
        return ()

    def served_with(self, log: str) -> Mapping[str, Any]:
        """For the manifest, from the server's log: `kernel` (what serves the quantized parts),
        `kv_cache_dtype` and `kv_cache_tokens`; None for what the log does not tell."""
        return {}

    def precision(self, argv: Sequence[str], log: str) -> Precision:
        """What it computes with; `log` is empty where the server was not started by us."""
        return Precision()

    def scored(
        self, argv: Sequence[str], windows: Sequence[Sequence[int]], log: Path
    ) -> Iterator[Floats]:
        """For each window of n token ids [n - 1, vocabulary] log-probabilities: row i is about the
        token after token i. Computed as a server started with `argv` would; `log` gets its words.
        Only of engines with `scores_in_process`."""
        raise NotImplementedError

    def warnings(
        self, host: Host, quant: str | None, spec: ServeSpec
    ) -> tuple[tuple[str, str, str, str], ...]:
        """What is known beforehand to bend results here: (name, what is seen, cause, advice)."""
        return ()

    def remarks(
        self, quant: str | None, spec: ServeSpec, log: str
    ) -> tuple[tuple[str, str, str, str], ...]:
        """What the log of a server that has answered shows to be other than announced; the same
        four words."""
        return ()
