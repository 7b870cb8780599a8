"""The engine's own view while it serves: its `/metrics`, asked about once a second, to a file."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

from quantswarm.engines.metrics_text import picked

INTERVAL_S = 1.0
PATIENCE_S = 3.0
"""A server that computes a long step answers late; one that is longer silent leaves a gap."""
LONGEST_TEXT_BYTES = 8_000_000


class Scraper:
    """A background thread over one server's metrics; use it as a context manager.

    Appends `{"ns", "took_ns", "values"}` a line, `ns` on CLOCK_MONOTONIC when the answer had come,
    `values` by our names (see `Engine.gauges`). A scrape that failed is `{"ns", "took_ns", "gap"}`
    with the reason, is counted, and never raises. `url` is the whole address of the metrics.
    """

    def __init__(
        self,
        url: str,
        gauges: Mapping[str, str],
        path: Path,
        *,
        api_key: str | None = None,
        interval_s: float = INTERVAL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._target = parts.path or "/"
        self._gauges = gauges
        self._path = path
        self._headers = {"Accept": "text/plain", "Connection": "close"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._interval_s = interval_s
        self._patience_s = patience_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrape", daemon=True)
        self._found: set[str] = set()
        self.scrapes = 0
        self.gaps = 0
        self.last_gap: str | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Scrape a last time and end, unless the server did not answer the time before; safe to
        call twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def facts(self) -> dict[str, Any]:
        """How many scrapes gave numbers, how many gave none, and which metrics no scrape held."""
        missing = self.missing()
        return {"scrapes": self.scrapes, "gaps": self.gaps, "missing": list(missing)}

    def missing(self) -> tuple[str, ...]:
        """The engine's names of metrics that were asked for and are in no answer; none unless
        there was an answer."""
        if not self.scrapes:
            return ()
        return tuple(metric for name, metric in self._gauges.items() if name not in self._found)

    def _run(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as sink:
            due = time.monotonic()
            answered = True
            while not self._stop.is_set():
                answered = self._write(sink)
                due = max(due + self._interval_s, time.monotonic())
                self._stop.wait(due - time.monotonic())
            if answered:  # a server that hangs is not waited for once more
                self._write(sink)

    def _write(self, sink: IO[str]) -> bool:
        found = self.scrape()
        sink.write(json.dumps(found) + "\n")
        sink.flush()
        return "values" in found

    def scrape(self) -> dict[str, Any]:
        """Ask once; the line that is stored."""
        began_ns = time.perf_counter_ns()
        try:
            text = self._text()
            ns = time.perf_counter_ns()
            values = picked(text, self._gauges)
            found: dict[str, Any] = {"values": values}
            self._found.update(values)
            self.scrapes += 1
        except (OSError, http.client.HTTPException, ValueError) as error:
            ns = time.perf_counter_ns()
            self.last_gap = f"{type(error).__name__}: {error}"
            found = {"gap": self.last_gap}
            self.gaps += 1
        return {"ns": ns, "took_ns": ns - began_ns, **found}

    def _text(self) -> str:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._patience_s)
        try:
            connection.request("GET", self._target, headers=self._headers)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise http.client.HTTPException(f"HTTP {answer.status}")
            return answer.read(LONGEST_TEXT_BYTES).decode("utf-8", errors="replace")
        finally:
            connection.close()
