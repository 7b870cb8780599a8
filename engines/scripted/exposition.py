"""`/metrics`: the ledger under the names that vLLM and llama.cpp use, in Prometheus's text form."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence

from quantswarm.engines.scripted.clockwork import Clockwork
from quantswarm.engines.scripted.ledger import Entry, Ledger

_EDGES_S = tuple(base * 10**power for power in range(-3, 3) for base in (1.0, 2.0, 3.0, 5.0, 7.5))


class Histogram:
    """Counts by upper edge, as Prometheus has them."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_EDGES_S) + 1)
        self._sum_s = 0.0

    def observe(self, value_s: float) -> None:
        """One more."""
        self._counts[bisect_left(_EDGES_S, value_s)] += 1
        self._sum_s += value_s

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """Cumulative buckets, sum and count."""
        yield f"# TYPE {name} histogram"
        total = 0
        for edge, number in zip((*map(str, _EDGES_S), "+Inf"), self._counts, strict=True):
            total += number
            yield f'{name}_bucket{{{labels},le="{edge}"}} {total}'
        yield f"{name}_sum{{{labels}}} {self._sum_s}"
        yield f"{name}_count{{{labels}}} {total}"


class Exposition:
    """Finished requests are counted in a quiet moment, or when somebody asks."""

    def __init__(self, name: str, ledger: Ledger, clockwork: Clockwork) -> None:
        self._labels = f'model_name="{name}",engine="0"'
        self._ledger = ledger
        self._clockwork = clockwork
        self._unread: deque[Entry] = deque()
        self._histograms = {
            "vllm:time_to_first_token_seconds": Histogram(),
            "vllm:inter_token_latency_seconds": Histogram(),
            "vllm:e2e_request_latency_seconds": Histogram(),
            "vllm:request_queue_time_seconds": Histogram(),
        }
        self._finished: Counter[str] = Counter()
        self._prompt_tokens = 0
        self._tokens = 0
        self._prompt_s = 0.0
        self._decode_s = 0.0
        self._longest = 0
        ledger.watch(self._unread.append)

    def text(self) -> str:
        """All of it, as of now."""
        while self.fold_one():
            pass
        return "\n".join([*self._vllm(), *self._llamacpp(), ""])

    def fold_one(self) -> bool:
        """Count one finished request more; False when there is none."""
        if not self._unread:
            return False
        self._fold(self._unread.popleft())
        return True

    def _fold(self, entry: Entry) -> None:
        plan = entry.plan
        if plan is None or not entry.sent_ns or entry.ended_ns is None:
            return
        sent, counts = entry.sent_ns, entry.counts
        ttft, itl, e2e, queue = self._histograms.values()
        first_s = (sent[0] - plan.received_ns) / 1e9
        ttft.observe(first_s)
        e2e.observe((entry.ended_ns - plan.received_ns) / 1e9)
        queue.observe((plan.started_ns - plan.received_ns) / 1e9)
        for before, after, number in zip(sent, sent[1:], counts[1:], strict=False):
            for _ in range(number):
                itl.observe((after - before) / 1e9 / number)
        if entry.outcome == "ok":
            self._finished[plan.finish] += 1
        self._prompt_tokens += plan.ask.prompt_tokens
        self._tokens += entry.tokens
        self._prompt_s += (sent[0] - plan.started_ns) / 1e9
        self._decode_s += (sent[-1] - sent[0]) / 1e9
        self._longest = max(self._longest, plan.ask.prompt_tokens + entry.tokens)

    def _running(self) -> tuple[int, int]:
        """(being served, waiting for a slot)."""
        now_ns = time.perf_counter_ns()
        entries = [entry.plan for entry in self._ledger.running.values() if entry.plan]
        waiting = sum(plan.started_ns > now_ns for plan in entries)
        return len(entries) - waiting, waiting

    def _vllm(self) -> Iterator[str]:
        running, waiting = self._running()
        yield from self._rows(
            "gauge",
            ("vllm:num_requests_running", running),
            ("vllm:num_requests_waiting", waiting),
            ("vllm:kv_cache_usage_perc", 0),
        )
        yield from self._rows(
            "counter",
            ("vllm:prompt_tokens_total", self._prompt_tokens),
            ("vllm:generation_tokens_total", self._tokens),
            ("vllm:prefix_cache_queries_total", self._prompt_tokens),
            ("vllm:prefix_cache_hits_total", 0),
            ("vllm:num_preemptions_total", 0),
        )
        yield "# TYPE vllm:request_success_total counter"
        for reason in ("stop", "length", "abort"):
            labels = f'{self._labels},finished_reason="{reason}"'
            yield f"vllm:request_success_total{{{labels}}} {self._finished[reason]}"
        for name, histogram in self._histograms.items():
            yield from histogram.lines(name, self._labels)

    def _rows(self, kind: str, *rows: tuple[str, float]) -> Iterator[str]:
        for name, value in rows:
            yield f"# TYPE {name} {kind}"
            yield f"{name}{{{self._labels}}} {value}"

    def _llamacpp(self) -> Iterator[str]:
        running, waiting = self._running()
        bursts = self._clockwork.bursts
        rows: Sequence[tuple[str, str, float]] = (
            ("counter", "prompt_tokens_total", self._prompt_tokens),
            ("counter", "prompt_seconds_total", self._prompt_s),
            ("counter", "tokens_predicted_total", self._tokens),
            ("counter", "tokens_predicted_seconds_total", self._decode_s),
            ("counter", "n_decode_total", bursts),
            ("counter", "n_tokens_max", self._longest),
            ("gauge", "n_busy_slots_per_decode", self._clockwork.events / max(1, bursts)),
            ("gauge", "prompt_tokens_seconds", self._prompt_tokens / (self._prompt_s or 1)),
            ("gauge", "predicted_tokens_seconds", self._tokens / (self._decode_s or 1)),
            ("gauge", "requests_processing", running),
            ("gauge", "requests_deferred", waiting),
        )
        for kind, name, value in rows:
            yield f"# TYPE llamacpp:{name} {kind}"
            yield f"llamacpp:{name} {value}"
