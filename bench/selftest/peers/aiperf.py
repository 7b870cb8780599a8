"""NVIDIA's AIPerf, in an environment of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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

SUMMARY = "profile_export_aiperf.json"
RECORDS = "profile_export.jsonl"
NOWHERE = "http://127.0.0.1:9"


class AiPerf(Peer):
    """It sends an id of its own as X-Request-Id, and keeps it."""

    name: ClassVar[str] = "aiperf"
    summary: ClassVar[str] = "NVIDIA AIPerf"
    requirement: ClassVar[str | None] = "aiperf==0.13.0"
    meanings: ClassVar[Mapping[str, Meaning]] = {
        TTFT: Meaning(called="time_to_first_token", formula="ttft"),
        TPOT: Meaning(called="inter_token_latency", formula="tpot"),
        ITL: Meaning(called="inter_chunk_latency", formula="chunk-gaps"),
    }

    def version(self) -> str:
        """The pinned one."""
        return pinned_version(self.requirement or "")

    def start(self, python: Path, load: Load) -> Start:
        """Tokens by the server's count: the tokenizer at hand is not the server's.

        In Hugging Face's offline mode it does not load a tokenizer from a folder, so the way out is
        closed by an address that nobody answers at.
        """
        argv = (
            *(str(python.with_name("aiperf")), "profile", "-m", load.model),
            *("--url", load.root_url, "--streaming", "--random-seed", "1"),
            *("--endpoint-type", "chat" if load.is_chat else "completions"),
            *("--concurrency", str(load.users), "--request-count", str(load.requests)),
            *("--isl", str(load.prompt_tokens), "--osl", str(load.output_tokens)),
            *("--extra-inputs", "ignore_eos:true", "--use-server-token-count"),
            *("--tokenizer", str(load.tokenizer), "--ui", "none"),
            *("--no-gpu-telemetry", "--no-server-metrics", "--export-level", "records"),
            *("--output-artifact-dir", str(load.folder)),
        )
        return Start(argv=argv, env={"HF_ENDPOINT": NOWHERE, "HF_HUB_ETAG_TIMEOUT": "1"})

    def read(self, load: Load) -> Reported:
        """What it has no number for is not in its file at all."""
        found = result_in(load.folder / SUMMARY)
        seen = tuple(_seen(load.folder / RECORDS))
        return Reported(
            latencies={
                metric: _quantiles(found.get(meaning.called))
                for metric, meaning in self.meanings.items()
            },
            output_tokens=_whole(found, "total_output_tokens"),
            output_tokens_per_s=(found.get("output_token_throughput") or {}).get("avg"),
            succeeded=_whole(found, "request_count") or 0,
            failed=_whole(found, "error_request_count") or 0,
            requests=seen,
        )


def _quantiles(found: Mapping[str, Any] | None) -> Quantiles:
    given = found or {}
    return Quantiles(p50=given.get("p50"), p99=given.get("p99"))


def _whole(found: Mapping[str, Any], key: str) -> int | None:
    said = (found.get(key) or {}).get("avg")
    return None if said is None else round(said)


def _seen(path: Path) -> Iterator[Seen]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        about = one["metadata"]
        yield Seen(
            ok=one.get("error") is None,
            id=about.get("x_request_id"),
            started_s=about["request_start_ns"] / 1e9,
        )


PEER = AiPerf()
