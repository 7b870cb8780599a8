"""Scraping a server that answers, that fails, and that is not there."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.scrape import Scraper
from quantswarm.engines.readiness import free_port

GAUGES = {"running": "app:running", "generation_tokens": "app:tokens_total"}


class Counting(ThreadingHTTPServer):
    """Counts its answers; `status` and `body` are what the next one is."""

    daemon_threads = True
    status = 200
    body: str | None = None
    asked = 0
    keys: list[str | None]


class Answer(BaseHTTPRequestHandler):
    server: Counting

    def do_GET(self) -> None:
        self.server.asked += 1
        self.server.keys.append(self.headers["Authorization"])
        text = self.server.body or f"app:running 2\napp:tokens_total {self.server.asked}\n"
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[Counting]:
    made = Counting(("127.0.0.1", 0), Answer)
    made.keys = []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def scraper_of(server: Counting, path: Path, **more: Any) -> Scraper:
    url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
    return Scraper(url, GAUGES, path, interval_s=0.01, **more)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def until(condition: Any, deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_every_scrape_is_a_line_on_the_clock_of_the_records(server, tmp_path):
    before_ns = time.perf_counter_ns()
    with scraper_of(server, tmp_path / "engine.jsonl", api_key="k") as scraper:
        until(lambda: scraper.scrapes >= 3)
    found = lines(tmp_path / "engine.jsonl")
    assert scraper.facts() == {"scrapes": len(found), "gaps": 0, "missing": []}
    assert [line["values"]["generation_tokens"] for line in found] == list(range(1, len(found) + 1))
    stamps = [line["ns"] for line in found]
    assert before_ns < stamps[0] == min(stamps) <= stamps[-1] < time.perf_counter_ns()
    assert stamps == sorted(stamps)
    assert set(server.keys) == {"Bearer k"}


def test_the_last_scrape_is_taken_at_the_end(server, tmp_path):
    with Scraper(
        f"http://127.0.0.1:{server.server_address[1]}/metrics",
        GAUGES,
        tmp_path / "engine.jsonl",
        interval_s=3600,
    ) as scraper:
        until(lambda: scraper.scrapes)
        seen = server.asked
    assert server.asked == seen + 1
    scraper.stop()
    assert server.asked == seen + 1


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [(503, None, "HTTP 503"), (200, "app:running two\n", "ValueError"), (401, None, "HTTP 401")],
)
def test_a_bad_answer_is_a_counted_gap_and_scraping_goes_on(server, tmp_path, status, body, says):
    server.status, server.body = status, body
    with scraper_of(server, tmp_path / "engine.jsonl") as scraper:
        until(lambda: scraper.gaps >= 2)
        server.status, server.body = 200, None
        until(lambda: scraper.scrapes)
    found = lines(tmp_path / "engine.jsonl")
    assert says in found[0]["gap"]
    assert "values" not in found[0]
    assert sum("gap" in line for line in found) == scraper.gaps


def test_a_server_that_hangs_is_not_asked_again_at_the_end(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/metrics"
        with Scraper(url, GAUGES, tmp_path / "engine.jsonl", patience_s=0.2) as scraper:
            silent.accept()  # the request is under way: it will be the only one
    assert (scraper.facts()["scrapes"], scraper.facts()["gaps"]) == (0, 1)


def test_a_metric_that_no_answer_held_is_missing_and_one_that_came_late_is_not(server, tmp_path):
    server.body = "app:running 1\n"
    with scraper_of(server, tmp_path / "engine.jsonl") as scraper:
        until(lambda: scraper.scrapes)
        assert scraper.missing() == ("app:tokens_total",)
        seen, server.body = scraper.scrapes, "app:tokens_total 5\n"
        until(lambda: scraper.scrapes > seen + 1)
    assert scraper.missing() == ()


def test_no_server_is_a_gap(tmp_path):
    url = f"http://127.0.0.1:{free_port()}/metrics"
    with Scraper(url, GAUGES, tmp_path / "engine.jsonl", interval_s=0.01) as scraper:
        until(lambda: scraper.gaps >= 2)
    assert scraper.scrapes == 0
    assert scraper.missing() == ()
    assert "ConnectionRefusedError" in (scraper.last_gap or "")
    assert "ConnectionRefusedError" in lines(tmp_path / "engine.jsonl")[0]["gap"]


def test_a_server_that_never_answers_costs_its_patience_and_no_more(tmp_path):
    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stopped.wait(60)

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
        path = tmp_path / "engine.jsonl"
        with Scraper(url, GAUGES, path, interval_s=0.01, patience_s=0.05) as scraper:
            until(lambda: scraper.gaps >= 2)
        assert "TimeoutError" in lines(path)[0]["gap"]
    finally:
        stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
