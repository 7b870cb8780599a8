"""What is watched beside the load: facts for the manifest, and warnings by name."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from quantswarm.bench.subject import Subject, external
from quantswarm.bench.watch import Watch
from quantswarm.engines.gpu import Gpus
from quantswarm.engines.process import ServerProcess
from quantswarm.engines.registry import engine_named

sys.path.insert(0, str(Path(__file__).parents[1] / "engines" / "nvml"))

from fake_nvml import GIB, FakeNvml, gpu

GAUGES = dict(engine_named("llamacpp").gauges)
WHOLE = "".join(f"{metric} 1\n" for metric in GAUGES.values())


class Metrics(ThreadingHTTPServer):
    """Answers every request with `text`, or with an error where there is none."""

    daemon_threads = True
    text: str | None = WHOLE


class Answer(BaseHTTPRequestHandler):
    server: Metrics

    def do_GET(self) -> None:
        self.send_response(200 if self.server.text is not None else 501)
        self.end_headers()
        self.wfile.write((self.server.text or "").encode())

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics(("127.0.0.1", 0), Answer)
    thread = Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ServerProcess]:
    code = "import time; time.sleep(600)"
    made = ServerProcess([sys.executable, "-c", code], log=tmp_path / "server.log")
    yield made
    made.stop(grace_s=0)


def subject(process: ServerProcess, metrics: Metrics) -> Subject:
    server: Any = SimpleNamespace(
        pid=process.pid,
        tree=process.tree,
        root_url=f"http://127.0.0.1:{metrics.server_address[1]}",
    )
    return Subject(
        engine="llamacpp",
        quant="q8_0",
        model="tiny",
        base_url=f"{server.root_url}/v1",
        served_name="tiny",
        facts={"versions": {"llamacpp": "9.9"}},
        server=server,
    )


def watched(subject: Subject, folder: Path, nvml: FakeNvml | None = None) -> Watch:
    """Open for as long as it takes to sample and scrape."""
    fake = nvml or FakeNvml()
    with Watch(subject, folder, gpus=Gpus.opened(lambda: fake)) as watch:
        end = time.monotonic() + 30
        while not (folder / "engine.jsonl").exists() or not (folder / "samples.jsonl").exists():
            assert time.monotonic() < end
            time.sleep(0.01)
    return watch


def test_a_server_that_tells_everything_earns_no_warning(process, metrics, tmp_path):
    watch = watched(subject(process, metrics), tmp_path)
    facts = watch.facts()
    assert watch.warnings() == ()
    assert facts["rss_peak_bytes"] > 0
    assert facts["gpu_peak_bytes"] is None
    assert facts["scraping"]["scrapes"] > 0 == facts["scraping"]["gaps"]
    assert facts["telemetry"]["missing"]["gpu"] == "NVML answers and lists no GPU"
    sample = json.loads((tmp_path / "samples.jsonl").read_text().splitlines()[0])
    scrape = json.loads((tmp_path / "engine.jsonl").read_text().splitlines()[0])
    assert abs(sample["ns"] - scrape["ns"]) < 60e9, "one clock"


def test_a_metric_that_is_gone_is_named_with_engine_and_version(process, metrics, tmp_path):
    metrics.text = WHOLE.replace("requests_deferred", "requests_waiting")
    (warning,) = watched(subject(process, metrics), tmp_path).warnings()
    assert warning["name"] == "engine-metric-missing"
    assert warning["seen"] == "llamacpp 9.9 does not expose llamacpp:requests_deferred"


def test_a_server_that_never_answered_is_named_once(process, metrics, tmp_path):
    metrics.text = None
    (warning,) = watched(subject(process, metrics), tmp_path).warnings()
    assert warning["name"] == "no-engine-view"
    assert "HTTP 501" in warning["seen"]


def test_gpu_memory_of_the_server_and_programs_beside_it(process, metrics, tmp_path):
    nvml = FakeNvml(gpu(processes=[(process.pid, 3 * GIB), (77, GIB)]))
    watch = watched(subject(process, metrics), tmp_path, nvml)
    assert watch.facts()["gpu_peak_bytes"] == 3 * GIB
    assert watch.facts()["telemetry"]["missing"]["gpu"] == ""
    (warning,) = watch.warnings()
    assert warning["name"] == "gpu-not-exclusive"
    assert "pid 77 on GPU 0 (1,024 MiB)" in warning["seen"]
    assert nvml.opened == 0


def test_an_endpoint_of_others_is_not_watched(tmp_path):
    with Watch(external("http://127.0.0.1:1/v1", "x", None), tmp_path) as watch:
        pass
    assert watch.facts() == {}
    assert watch.warnings() == ()
    assert list(tmp_path.iterdir()) == []
