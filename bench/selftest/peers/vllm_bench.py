"""vLLM's `bench serve`, in the project's environment, as a process of its own.

The `vllm` command fails in the CPU build (it asks for the metadata of a package named `vllm`), so
this file, run as a program, calls the same function with the same arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from quantswarm.bench.selftest.parity.peer import (
    ITL,
    TPOT,
    TTFT,
    Load,
    Meaning,
    Peer,
    Quantiles,
    Reported,
    Seen,
    Start,
    result_in,
)

RESULT = "result.json"
ID_PREFIX = "bench-"


class VllmBench(Peer):
    """Its request ids are sent as X-Request-Id, so that the ledger knows them."""

    name: ClassVar[str] = "vllm-bench"
    summary: ClassVar[str] = "vLLM's bench serve"
    meanings: ClassVar[Mapping[str, Meaning]] = {
        TTFT: Meaning(called="ttft_ms", formula="ttft"),
        TPOT: Meaning(called="tpot_ms", formula="tpot"),
        ITL: Meaning(called="itl_ms", formula="chunk-gaps"),
    }

    def obstacle(self) -> str | None:
        """By the engine's own probe, which knows both builds."""
        found = _engine().probe()
        return None if found.available else f"{found.reason}; cure: {found.cure}"

    def version(self) -> str:
        """vLLM's."""
        return _engine().probe().version or "n/a"

    def start(self, python: Path, load: Load) -> Start:
        """The built-in random data set: prompts of about that many tokens."""
        backend = "openai-chat" if load.is_chat else "openai"
        endpoint = "/v1/chat/completions" if load.is_chat else "/v1/completions"
        argv = (
            *(str(python), "-P", "-m", __name__),
            *("--backend", backend, "--endpoint", endpoint),
            *("--base-url", load.root_url, "--model", load.model),
            *("--tokenizer", str(load.tokenizer), "--dataset-name", "random"),
            *("--random-input-len", str(load.prompt_tokens)),
            *("--random-output-len", str(load.output_tokens), "--ignore-eos"),
            *("--max-concurrency", str(load.users), "--num-prompts", str(load.requests)),
            *("--request-id-prefix", ID_PREFIX, "--seed", "1", "--disable-tqdm"),
            *("--percentile-metrics", "ttft,tpot,itl", "--metric-percentiles", "50,99"),
            *("--save-result", "--save-detailed"),
            *("--result-dir", str(load.folder), "--result-filename", RESULT),
        )
        return Start(argv=argv, env={"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})

    def read(self, load: Load) -> Reported:
        """A failed request has an error, or never had a first chunk."""
        found = result_in(load.folder / RESULT)
        rows = zip(found["errors"], found["ttfts"], found["start_times"], strict=True)
        return Reported(
            latencies={metric: _quantiles(found, metric) for metric in (TTFT, TPOT, ITL)},
            output_tokens=found["total_output_tokens"],
            output_tokens_per_s=found["output_throughput"],
            succeeded=found["completed"],
            failed=found["failed"],
            requests=tuple(
                Seen(id=f"{ID_PREFIX}{index}", ok=not error and ttft > 0, started_s=start)
                for index, (error, ttft, start) in enumerate(rows)
            ),
        )


def _quantiles(found: Mapping[str, Any], metric: str) -> Quantiles:
    return Quantiles(p50=found.get(f"p50_{metric}_ms"), p99=found.get(f"p99_{metric}_ms"))


def _engine() -> Any:
    from quantswarm.engines.registry import engine_named

    return engine_named("vllm")


PEER = VllmBench()


def main() -> None:
    """What `vllm bench serve` does."""
    from vllm.benchmarks.serve import add_cli_args
    from vllm.benchmarks.serve import main as serve
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    serve(parser.parse_args(sys.argv[1:]))


if __name__ == "__main__":
    main()
