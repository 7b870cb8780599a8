"""What the server counts, and the text of it that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quantswarm.engines.onnx_serve.jobs import Job, Step

PREFIX = "quantswarm_onnx:"


class Counts:
    """Written by the generating thread alone; read by any."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._running = 0
        self._prompt_tokens = 0
        self._generation_tokens = 0

    def began(self, batch: Sequence[Job]) -> None:
        """These jobs are computed from now on, and their prompts are."""
        self._running = len(batch)
        self._prompt_tokens += sum(len(job.ids) for job in batch)

    def token(self, step: Step) -> None:
        """One thing that happened to a job."""
        self._generation_tokens += step.token is not None
        self._running -= step.reason is not None

    def ended(self) -> None:
        """The batch is done."""
        self._running = 0

    def exposition(self) -> str:
        """Prometheus' text format."""
        rows = (
            ("num_requests_running", "gauge", self._running),
            ("num_requests_waiting", "gauge", self._waiting()),
            ("prompt_tokens_total", "counter", self._prompt_tokens),
            ("generation_tokens_total", "counter", self._generation_tokens),
        )
        return "".join(
            f"# TYPE {PREFIX}{name} {kind}\n{PREFIX}{name} {value}\n" for name, kind, value in rows
        )
