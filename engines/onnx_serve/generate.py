"""The generating thread: takes jobs from the queue, lets onnxruntime-genai compute, tells tokens.

Most jobs go through its `Engine` as a static batch. Those that ask for log-probabilities or a seed,
which its `Engine` has not, go one at a time through its `Generator`.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from quantswarm.engines.onnx_serve import alone
from quantswarm.engines.onnx_serve.counts import Counts
from quantswarm.engines.onnx_serve.jobs import STOPPED, Job, Step
from quantswarm.engines.onnx_serve.model import Loaded, bind_caller
from quantswarm.engines.onnx_serve.queueing import Waiting

_EVENTS = 64


class Generating(threading.Thread):
    """Runs until `stop`; every job that it took has been told its end by then."""

    def __init__(
        self, loaded: Loaded, waiting: Waiting, counts: Counts, threads: int, cores: Sequence[int]
    ) -> None:
        super().__init__(name="generating", daemon=True)
        self._loaded, self._waiting, self._counts = loaded, waiting, counts
        self._threads, self._cores = threads, tuple(cores)
        self._engine: Any = None
        self._stopping = False

    def stop(self) -> None:
        """From any thread; what is being computed ends after its step, and is told so."""
        self._stopping = True
        for job in self._waiting.close():
            job.tell(STOPPED)

    def run(self) -> None:
        """The thread's own work."""
        bind_caller(self._threads, self._cores)
        while batch := self._waiting.batch():
            self._counts.began(batch)
            try:
                self._serve(batch)
            except Exception as error:  # whatever the library raises: the server goes on
                traceback.print_exc(file=sys.stderr)
                self._engine = None
                for job in batch:
                    job.tell(Step(reason="error", error=f"{type(error).__name__}: {error}"))
            self._counts.ended()
            self._waiting.ended(len(batch))

    def _serve(self, batch: Sequence[Job]) -> None:
        if batch[0].alone:
            for step in alone.steps(self._loaded, batch[0], lambda: self._stopping):
                self._counts.token(step)
                batch[0].tell(step)
        else:
            self._together(batch)

    def _together(self, batch: Sequence[Job]) -> None:
        """One static batch, from its prompts to the end of its longest answer."""
        if self._engine is None:
            self._engine = self._loaded.genai.Engine(self._loaded.model)
        buffer = self._engine.create_event_buffer(_EVENTS)
        rows = [_Row(self._loaded.genai, self._engine, job) for job in batch]
        by_request = {row.request: row for row in rows}
        while self._engine.has_pending_requests():
            for event in self._engine.run(buffer) or ():
                step = by_request[event.request].step(event)
                if step is not None:
                    self._counts.token(step)
                    by_request[event.request].job.tell(step)
            for row in rows:
                if row.job.cancelled or self._stopping:
                    row.cancel()
        for row in rows:
            row.close()


class _Row:
    """One job inside the library's `Engine`."""

    def __init__(self, genai: Any, engine: Any, job: Job) -> None:
        import numpy as np

        self.job, self._genai = job, genai
        room = genai.RequestOptions()
        room.set_max_session_tokens(len(job.ids) + job.most_tokens)
        self.request = engine.create_request(options=room)
        turn = genai.TurnOptions(self.request)
        turn.set_max_generated_tokens(job.most_tokens)
        turn.set_min_generated_tokens(job.least_tokens)
        ask = job.ask
        turn.set_do_sample(ask.temperature > 0)
        if ask.temperature > 0:
            turn.set_temperature(ask.temperature)
            turn.set_top_k(ask.top_k)
            turn.set_top_p(ask.top_p)
        turn.set_repetition_penalty(ask.repetition_penalty)
        self._turn: int = self.request.begin_turn(np.array(job.ids, np.int32), turn)
        self._cancelled = self._over = False

    def cancel(self) -> None:
        """Ends this row; its place in the batch stays until the others are done."""
        if not (self._cancelled or self._over):
            self._cancelled = True
            self.request.cancel_turn(self._turn)

    def close(self) -> None:
        """Gives the library its memory back; a cancelled row may not have been told its end."""
        self.request.close()
        if not self._over:
            self.job.tell(STOPPED)

    def step(self, event: Any) -> Step | None:
        """What an event says; None for what only matters inside the library."""
        flags, kinds = int(event.flags), self._genai.EngineEventFlags
        if flags & int(kinds.FAILED):
            self._over = True
            return Step(reason="error", error=f"onnxruntime-genai: {event.error_code}")
        token = int(event.token) if flags & int(kinds.TOKEN) else None
        if not flags & int(kinds.TURN_FINISHED):
            return None if token is None else Step(token=token)
        self._over = True
        reasons = self._genai.FinishReason
        if event.finish_reason == reasons.CANCELLED:
            return STOPPED
        return Step(token=token, reason="stop" if event.finish_reason == reasons.EOS else "length")
