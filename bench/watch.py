"""What is watched beside the load: the server's metrics, its processes, the machine, the GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quantswarm.bench.judge.engine_view import FILE
from quantswarm.bench.scrape import Scraper
from quantswarm.bench.subject import Subject
from quantswarm.engines.gpu import Gpus
from quantswarm.engines.gpu_vacancy import others
from quantswarm.engines.process import key_in
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import Server
from quantswarm.engines.telemetry import Sampler

SAMPLES = "samples.jsonl"


class Watch(AbstractContextManager["Watch"]):
    """Samples and scrapes of one cell, into its folder, while the context is open.

    An endpoint that we did not start is not watched: nothing of it is known but its answers.
    """

    def __init__(self, subject: Subject, folder: Path, *, gpus: Gpus | None = None) -> None:
        self._subject = subject
        self._folder = folder
        self._gpus = gpus
        self._stack = ExitStack()
        self._scraper: Scraper | None = None
        self._sampler: Sampler | None = None
        self._shared: tuple[dict[str, str], ...] = ()

    def __enter__(self) -> Self:
        server = self._subject.server
        if server is None:
            return self
        gpus = Gpus.opened() if self._gpus is None else self._gpus
        self._shared = others(gpus, server.tree())
        path = self._folder / SAMPLES
        self._sampler = Sampler(server.pid, path, tree=server.tree, gpus=gpus)
        self._scraper = _scraper(self._subject, server, self._folder / FILE)
        with ExitStack() as stack:
            stack.enter_context(self._sampler)
            if self._scraper is not None:
                stack.enter_context(self._scraper)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def facts(self) -> dict[str, Any]:
        """What a manifest keeps; to be asked when the context is closed."""
        if self._sampler is None:
            return {}
        return {
            "rss_peak_bytes": self._sampler.peak_rss_bytes,
            "pss_peak_bytes": self._sampler.peak_pss_bytes,
            "gpu_peak_bytes": self._sampler.peak_gpu_bytes,
            "telemetry": self._sampler.facts(),
            "scraping": self._scraper.facts() if self._scraper is not None else None,
        }

    def warnings(self) -> tuple[dict[str, str], ...]:
        """Named warnings about the GPU's other users and about metrics that did not come."""
        version = (self._subject.facts.get("versions") or {}).get(self._subject.engine)
        who = f"{self._subject.engine} {version or '(version unknown)'}"
        found = _silences(self._scraper, who) if self._scraper is not None else ()
        return (*self._shared, *found)


def _scraper(subject: Subject, server: Server, path: Path) -> Scraper | None:
    """For a server that counts for itself; None for any other."""
    engine = engine_named(subject.engine)
    if engine.metrics_path is None or not engine.gauges:
        return None
    key = key_in(subject.api_key_file) if subject.api_key_file is not None else None
    return Scraper(f"{server.root_url}{engine.metrics_path}", engine.gauges, path, api_key=key)


def _silences(scraper: Scraper, who: str) -> Iterator[dict[str, str]]:
    missing = scraper.missing()
    if missing:
        yield {
            "name": "engine-metric-missing",
            "seen": f"{who} does not expose {', '.join(missing)}",
            "cause": "this version renamed or removed it, or an option switched it off",
            "advice": "look it up in the server's /metrics and correct the engine's gauges; "
            "until then these columns are n/a",
        }
    if scraper.gaps and not scraper.scrapes:
        yield {
            "name": "no-engine-view",
            "seen": f"none of {scraper.gaps} scrapes of {who} gave numbers ({scraper.last_gap})",
            "cause": "the server's metrics are off, elsewhere, or it was too busy to answer",
            "advice": "read the server's log; the client's numbers stand without it",
        }
