"""GuideLLM, in an environment of its own."""

from __future__ import annotations

import json
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
    pinned_version,
    result_in,
)

RESULT = "result.json"
ORDERS = "guidellm.json"


class GuideLlm(Peer):
    """It keeps the answer's id, which holds the ledger's; of a failure it keeps the start only."""

    name: ClassVar[str] = "guidellm"
    summary: ClassVar[str] = "GuideLLM"
    requirement: ClassVar[str | None] = "guidellm==0.8.1"
    meanings: ClassVar[Mapping[str, Meaning]] = {
        TTFT: Meaning(called="time_to_first_token_ms", formula="ttft"),
        TPOT: Meaning(called="time_per_output_token_ms", formula="tpot-with-ttft"),
        ITL: Meaning(called="inter_token_latency_ms", formula="request-means"),
    }

    def version(self) -> str:
        """The pinned one."""
        return pinned_version(self.requirement or "")

    def start(self, python: Path, load: Load) -> Start:
        """By a file: on its command line a comma or an equals sign in a name has a meaning."""
        orders = load.folder / ORDERS
        orders.write_text(json.dumps(_orders(load), indent=1), encoding="utf-8")
        program = python.with_name("guidellm")
        argv = (str(program), "run", "--config", str(orders), "--disable-console-interactive")
        return Start(argv=argv, env={"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})

    def read(self, load: Load) -> Reported:
        """Numbers of its successful requests, as its own tables show them."""
        (run,) = result_in(load.folder / RESULT)["benchmarks"]
        metrics, requests = run["metrics"], run["requests"]
        totals = metrics["request_totals"]
        return Reported(
            latencies={
                metric: _quantiles(metrics[meaning.called])
                for metric, meaning in self.meanings.items()
            },
            output_tokens=round(metrics["output_token_count"]["successful"]["total_sum"]),
            output_tokens_per_s=metrics["output_tokens_per_second"]["successful"]["mean"],
            succeeded=totals["successful"],
            failed=totals["errored"] + totals["incomplete"],
            requests=tuple(
                _seen(one, ok=state == "successful")
                for state in ("successful", "errored", "incomplete")
                for one in requests[state] or ()
            ),
        )


def _orders(load: Load) -> dict[str, Any]:
    path = "/v1/chat/completions" if load.is_chat else "/v1/completions"
    spec = {
        "backend": {
            "kind": "openai_http",
            "target": load.root_url,
            "model": load.model,
            "request_format": path,
        },
        "profile": {"kind": "concurrent"},
        "tokenizer": {"kind": "huggingface_auto", "model": str(load.tokenizer)},
        "data": [
            {
                "kind": "synthetic_text",
                "prompt_tokens": load.prompt_tokens,
                "output_tokens": load.output_tokens,
            }
        ],
        "constraints": [{"kind": "max_requests", "count": load.requests}],
        "outputs": [{"kind": "json", "path": str(load.folder / RESULT)}],
    }
    return {"spec": spec, "benchmarks": [{"profile.streams": load.users}]}


def _quantiles(found: Mapping[str, Any]) -> Quantiles:
    """Of nothing it writes zeros; those are not numbers."""
    whole = found["successful"]
    if not whole["count"]:
        return Quantiles(p50=None, p99=None)
    return Quantiles(p50=whole["percentiles"]["p50"], p99=whole["percentiles"]["p99"])


def _seen(one: Mapping[str, Any], *, ok: bool) -> Seen:
    said = one.get("response_id")
    started_s = one["info"]["timings"].get("request_start") or one["info"].get("started_at")
    return Seen(ok=ok, id=said.partition("-")[2] if said else None, started_s=started_s)


PEER = GuideLlm()
