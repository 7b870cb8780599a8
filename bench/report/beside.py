"""What was watched beside the load, in words: the engine's own view, processors, GPUs, energy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quantswarm.bench.judge.two_sides import BESIDE
from quantswarm.bench.report import numerals

SIDES_HEAD = ("ms", "server says", "client saw")
_CORES_TOLD = 16
"""A machine with more cores tells of them in cores.parquet only."""


def watched(cell: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of each; "n/a" with the reason where nothing could be seen."""
    return [
        ("the engine's own view", _own_view(cell.get("engine_view"))),
        ("processors", _processors(cell.get("resources"))),
        ("GPU", _gpu(cell)),
        ("energy", _energy(cell)),
    ]


def both_sides(cell: Mapping[str, Any]) -> list[list[str]]:
    """Latencies by the server's clock beside the client's, as texts; empty without a view.

    A server's percentile is interpolated in a bucket of its histogram, whose edges are given.
    """
    view = cell.get("engine_view") or {}
    rows = []
    for metric, beside in BESIDE.items():
        server, client = view.get(metric), cell["latencies_ms"].get(beside)
        if not server or not client:
            continue
        name = metric.upper()
        rows.append(
            [f"{name} mean", numerals.plain(server["mean_ms"]), numerals.plain(client["mean"])]
        )
        for q in ("p50", "p99"):
            seen = numerals.withheld(client[q], client["n"])
            rows.append([f"{name} {q}", _in_bucket(server, q), seen])
    return rows


def _own_view(view: Mapping[str, Any] | None) -> str:
    if view is None:
        return numerals.NA
    parts = [
        f"running {_mean_and_most(view, 'running', numerals.plain, numerals.whole)}",
        f"waiting {_mean_and_most(view, 'waiting', numerals.plain, numerals.whole)}",
        f"KV cache {_mean_and_most(view, 'kv_cache', numerals.share, numerals.share)}",
        f"prompt tokens from the cache {numerals.share(view['prefix_hit_rate'])}",
        f"preemptions {numerals.whole(view['preemptions'])}",
        f"tokens generated {numerals.whole(view['server_tokens'])}",
        f"tokens the client counted {numerals.whole(view['client_tokens'])}",
        f"mean time in its queue {numerals.plain(view.get('queue_mean_ms'))} ms",
        f"mean TTFT {numerals.plain(view['ttft_mean_ms'])} ms",
        f"mean ITL {numerals.plain(view['itl_mean_ms'])} ms",
        f"{view['scrapes']} scrapes, {view['gaps']} gaps",
    ]
    return ", ".join(part for part in parts if numerals.NA not in part)


def _mean_and_most(
    view: Mapping[str, Any], name: str, of_mean: Callable[[Any], str], of_most: Callable[[Any], str]
) -> str:
    """Mean and peak; the peak alone for a view that an older version judged."""
    mean, most = view.get(f"{name}_mean"), of_most(view[f"{name}_peak"])
    return f"{most} at most" if mean is None else f"{of_mean(mean)} on average, {most} at most"


def _in_bucket(server: Mapping[str, Any], q: str) -> str:
    low, high = server[f"{q}_bucket_ms"]
    if high is None:
        return f"over {low:g}"
    return f"about {numerals.plain(server[f'{q}_ms'])} (between {low:g} and {high:g})"


def _processors(used: Mapping[str, Any] | None) -> str:
    if not used:
        return numerals.NA
    busy = [f"core {core} {numerals.share(share)}" for core, share in used["core_busy"].items()]
    parts = [
        f"server {numerals.plain(used['server_cpu_mean'])} cores on average",
        f"server {numerals.plain(used['server_cpu_max'])} cores at most",
        f"generator {numerals.plain(used['generator_cpu_mean'])}",
        f"scraping and sampling {numerals.plain(used['watcher_cpu_mean'])}",
        *(busy if len(busy) <= _CORES_TOLD else ()),
        f"stolen by the host {numerals.share(used['steal_share'])}",
        f"stopped by the CPU quota {numerals.share(used['throttled_share'])}",
        f"major page faults {numerals.whole(used['major_faults'])}",
    ]
    return ", ".join(part for part in parts if numerals.NA not in part) or numerals.NA


def _gpu(cell: Mapping[str, Any]) -> str:
    used = cell.get("resources") or {}
    if used.get("gpu_memory_max_bytes") is None:
        return _missing(cell, "gpu")
    parts = [
        f"busy {numerals.share(used['gpu_utilization_mean'])}",
        f"memory {numerals.megabytes(used['gpu_memory_max_bytes'])} at most",
        f"power {numerals.plain(used['gpu_power_mean_w'])} W on average",
        f"power {numerals.plain(used['gpu_power_max_w'])} W at most",
        f"SM clock {numerals.whole(used['gpu_sm_min_mhz'])} MHz at least",
        f"temperature {numerals.whole(used['gpu_temperature_max_c'])} °C at most",
        f"slowed down in {numerals.share(used['gpu_slowed_share'])} of the samples",
        *used["gpu_slowed_by"],
    ]
    return ", ".join(part for part in parts if numerals.NA not in part)


def _energy(cell: Mapping[str, Any]) -> str:
    used = cell.get("resources") or {}
    kinds = (("CPU packages", "cpu_package_joules"), ("GPUs", "gpu_joules"))
    parts = [f"{name} {numerals.plain(used[key])} J" for name, key in kinds if used.get(key)]
    return ", ".join(parts) or _missing(cell, "cpu_energy")


def _missing(cell: Mapping[str, Any], what: str) -> str:
    """n/a, with the reason where the cell has one."""
    why = ((cell.get("telemetry") or {}).get("missing") or {}).get(what)
    return f"{numerals.NA} ({why})" if why else numerals.NA
