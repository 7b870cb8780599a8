"""The openai package as a load generator: users in asyncio, its own streams, nothing clever.

It is no benchmark tool, but it is what a script of one's own is usually made of. The package is
left as it comes: in particular it asks twice again after a 429 or a 500, and says nothing of it.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict
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
from quantswarm.bench.selftest.parity.truth import itl_ms, quantiles, tpot_ms

ORDERS, RESULT = "openai-orders.json", "openai-result.json"


class OpenAiSdk(Peer):
    """Numbers by our formulas: what differs from the ledger is the package's doing."""

    name: ClassVar[str] = "openai-sdk"
    summary: ClassVar[str] = "a script on the openai package"
    meanings: ClassVar[Mapping[str, Meaning]] = {
        TTFT: Meaning(called="first chunk with text", formula="ttft"),
        TPOT: Meaning(called="(last − first) / (n − 1)", formula="tpot"),
        ITL: Meaning(called="gaps of chunks with text", formula="chunk-gaps"),
    }

    def version(self) -> str:
        """The installed package's."""
        return importlib.metadata.version("openai")

    def start(self, python: Path, load: Load) -> Start:
        """This file, as a program."""
        orders = load.folder / ORDERS
        orders.write_text(json.dumps(asdict(load), default=str), encoding="utf-8")
        return Start(argv=(str(python), "-P", "-m", __name__, str(orders)))

    def read(self, load: Load) -> Reported:
        """From one object a request, and the span of them all."""
        rows = result_in(load.folder / RESULT)
        whole = [row for row in rows if row["error"] is None]
        tokens = sum(row["tokens"] or 0 for row in whole)
        span_s = _span_s(rows)
        return Reported(
            latencies=dict(_latencies(whole)),
            output_tokens=tokens,
            output_tokens_per_s=tokens / span_s if span_s else None,
            succeeded=len(whole),
            failed=len(rows) - len(whole),
            requests=tuple(
                Seen(id=row["id"], ok=row["error"] is None, started_s=row["sent_ns"] / 1e9)
                for row in rows
            ),
        )


def _latencies(whole: list[dict[str, Any]]) -> Iterator[tuple[str, Quantiles]]:
    told = [row for row in whole if row["event_ns"]]
    yield TTFT, quantiles((row["event_ns"][0] - row["sent_ns"]) / 1e6 for row in told)
    yield TPOT, quantiles(x for row in told for x in tpot_ms(row["event_ns"], row["tokens"] or 0))
    yield ITL, quantiles(x for row in told for x in itl_ms(row["event_ns"]))


def _span_s(rows: list[dict[str, Any]]) -> float:
    ends = [row["event_ns"][-1] for row in rows if row["event_ns"]]
    return (max(ends) - min(row["sent_ns"] for row in rows)) / 1e9 if ends else 0.0


PEER = OpenAiSdk()


async def drive(orders: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The whole load; one row a request, in order of their starts."""
    import openai

    client = openai.AsyncOpenAI(base_url=f"{orders['root_url']}/v1", api_key="none")
    numbers = iter(range(orders["requests"]))
    rows: list[dict[str, Any]] = []

    async def user() -> None:
        for number in numbers:
            row: dict[str, Any] = {"id": f"sdk-{number}", "tokens": None, "error": None}
            row["event_ns"] = []
            rows.append(row)
            await _ask(client, orders, row)

    await asyncio.gather(*(user() for _ in range(orders["users"])))
    return rows


async def _ask(client: Any, orders: Mapping[str, Any], row: dict[str, Any]) -> None:
    row["sent_ns"] = time.perf_counter_ns()
    try:
        async for text, usage in _stream(client, orders, row["id"]):
            if text:
                row["event_ns"].append(time.perf_counter_ns())
            if usage is not None:
                row["tokens"] = usage.completion_tokens
    except Exception as error:  # whatever the package raises is how it tells of a failure
        row["error"] = f"{type(error).__name__}: {error}"


async def _stream(
    client: Any, orders: Mapping[str, Any], name: str
) -> AsyncIterator[tuple[str, Any]]:
    """Text and usage of each chunk."""
    words = " ".join([name, *["word"] * (orders["prompt_tokens"] - 1)])
    asked = {
        "model": orders["model"],
        "max_tokens": orders["output_tokens"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "extra_headers": {"X-Request-Id": name},
        "extra_body": {"ignore_eos": True},
    }
    if orders["api"] == "chat":
        chat = [{"role": "user", "content": words}]
        async for chunk in await client.chat.completions.create(messages=chat, **asked):
            yield (chunk.choices[0].delta.content or "" if chunk.choices else ""), chunk.usage
    else:
        async for chunk in await client.completions.create(prompt=words, **asked):
            yield (chunk.choices[0].text if chunk.choices else ""), chunk.usage


def main(arguments: list[str]) -> int:
    """Leaves the rows beside the orders."""
    path = Path(arguments[0])
    orders = json.loads(path.read_text(encoding="utf-8"))
    rows = asyncio.run(drive(orders))
    path.with_name(RESULT).write_text(json.dumps(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
