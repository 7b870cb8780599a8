"""Run directories made up with a known truth: users in closed loop, exact latencies, no server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

S = 1_000_000_000
MS = 1_000_000
START = 1_000 * S
HOST = {
    "cpu": "Example 9000",
    "isa": ["avx2", "avx512f"],
    "cores": [0, 1],
    "memory_bytes": 24 * 2**30,
    "gpus": [],
}
VERSIONS = {"quantswarm": "0.1.0", "vllm": "0.32.0", "llama.cpp": "0c1e57098"}
SCENARIO = {"name": "chat-short", "prompt_tokens": 128, "output_tokens": 32}


def record(number: int, start_ns: int, **changed: Any) -> dict[str, Any]:
    """One whole answer of 4 tokens: first after 50 ms, then every 10 ms; keys may be replaced."""
    stamps = [start_ns + 50 * MS + i * 10 * MS for i in range(4)]
    made: dict[str, Any] = {
        "schema": 1,
        "id": f"r{number}",
        "user": 0,
        "intended_ns": start_ns,
        "sent_ns": start_ns,
        "first_byte_ns": stamps[0],
        "end_ns": stamps[-1] + MS,
        "event_ns": stamps,
        "event_tokens": [1] * 4,
        "events": 4,
        "coalesced": 0,
        "prompt_tokens": 128,
        "output_tokens": 4,
        "expected_prompt_tokens": 128,
        "expected_output_tokens": 4,
        "finish_reason": "length",
        "http_status": 200,
        "conn_reused": True,
        "outcome": "ok",
        "error": None,
        "server_timings": None,
        "cached_tokens": 0,
    } | changed
    return made | {"events": changed.get("events", len(made["event_ns"]))}


def failed(number: int, start_ns: int, outcome: str = "refused", **changed: Any) -> dict[str, Any]:
    """A request that failed 1 ms after its start, without any event."""
    base: dict[str, Any] = {
        "sent_ns": None,
        "first_byte_ns": None,
        "end_ns": start_ns + MS,
        "event_ns": [],
        "event_tokens": [],
        "output_tokens": None,
        "prompt_tokens": None,
        "finish_reason": None,
        "http_status": None,
        "outcome": outcome,
        "error": f"made up: {outcome}",
        "cached_tokens": None,
    }
    return record(number, start_ns, **(base | changed))


@dataclass(frozen=True, kw_only=True)
class Load:
    """A closed loop whose every request has the same shape, but for a jitter known by its index."""

    users: int = 1
    ttft_ms: float = 50.0
    itl_ms: float = 10.0
    tokens: int = 32
    jitter: float = 0.0
    warmup_s: int = 3
    window_s: int = 20
    fails: Callable[[int], str | None] = field(default=lambda number: None)
    sent_after_ms: float = 0.1
    changed: dict[str, Any] = field(default_factory=dict)

    def window(self) -> dict[str, int]:
        start = START + self.warmup_s * S
        end = start + self.window_s * S
        return {
            "swarm_start_ns": START,
            "start_ns": start,
            "end_ns": end,
            "drained_ns": end + 5 * S,
        }

    def records(self) -> list[dict[str, Any]]:
        made = [r for user in range(self.users) for r in self._of_user(user)]
        return sorted(made, key=lambda r: r["end_ns"])

    def _of_user(self, user: int) -> list[dict[str, Any]]:
        made, now, number = [], START + user * 7 * MS, 0
        while now < self.window()["end_ns"]:
            index = number * self.users + user
            made.append(self._one(index, user, now))
            now = made[-1]["end_ns"] + MS // 2
            number += 1
        return made

    def _one(self, index: int, user: int, now: int) -> dict[str, Any]:
        outcome = self.fails(index)
        if outcome:
            return failed(index, now, outcome, user=user, end_ns=now + 20 * MS)
        stretch = 1 + self.jitter * ((index * 7919) % 101 / 50 - 1)
        first = now + int(self.ttft_ms * stretch * MS)
        gap = self.itl_ms * MS
        stamps, at = [], float(first)
        for token in range(self.tokens):
            stamps.append(int(at))
            at += gap * (1 + self.jitter * (((index + token) * 104729) % 89 / 44 - 1))
        return record(
            index,
            now,
            user=user,
            sent_ns=now + int(self.sent_after_ms * MS),
            event_ns=stamps,
            event_tokens=[1] * self.tokens,
            end_ns=stamps[-1] + MS // 2,
            output_tokens=self.tokens,
            expected_output_tokens=self.tokens,
            **self.changed,
        )


def write_run(run_dir: Path, **extra: Any) -> Path:
    """A run without cells yet."""
    (run_dir / "cells").mkdir(parents=True)
    about = {
        "schema": 1,
        "run_id": "20261121-090000-default",
        "matrix": {
            "name": "default",
            "variants": [{}, {}, {}, {}, {}],
            "users": [1, 8],
            "scenario": "default",
            "seed": 0,
        },
        "host": HOST,
        "versions": VERSIONS,
        "started_utc": "2026-11-21T09:00:00Z",
    }
    (run_dir / "run.json").write_text(json.dumps(about | extra))
    return run_dir


def write_cell(
    run_dir: Path,
    engine: str,
    quant: str,
    load: Load,
    *,
    records: list[dict[str, Any]] | None = None,
    measured: bool = True,
    **manifest: Any,
) -> Path:
    """One cell; `measured=False`: no window, no records, as when the server never came up."""
    folder = run_dir / "cells" / f"{engine}-{quant}-u{load.users}"
    folder.mkdir(parents=True)
    about: dict[str, Any] = {
        "schema": 1,
        "engine": engine,
        "quant": quant,
        "model": "tiny",
        "users": load.users,
        "scenario": SCENARIO,
        "scenario_hash": "5ca1ab1e",
        "status": "ok",
        "reason": None,
        "argv": [f"{engine}-server", "--model", f"tiny.{quant}", "--alias", "my model"],
        "env": {"OMP_NUM_THREADS": "1"},
        "reasons": {"threads": "one core is left to the load generator"},
        "host": HOST,
        "versions": VERSIONS,
        "placement": {"server_cores": [0], "generator_cores": [1]},
        "kernels": [f"{quant}_gemm_avx512"],
        "weights_bytes": 14_700_000,
        "artefact_sha256": "ab" * 32,
        "load_s": 2.5,
        "rss_peak_bytes": 350_000_000,
        "window": load.window() if measured else None,
        "warnings": [],
        "harness": {"cpu_s": 2.4, "cpu_us_per_token": 41.0},
    }
    (folder / "manifest.json").write_text(json.dumps(about | manifest))
    if measured:
        lines = [json.dumps(r) for r in (load.records() if records is None else records)]
        (folder / "records.jsonl").write_text("".join(line + "\n" for line in lines))
    return folder


KINDS = {"fp32": 32.0, "bf16": 16.0, "f16": 16.0, "q8_0": 8.5, "q4_k_m": 4.9, "int8": 8.1}
"""Quantization → bits of a weight of the layers of the model `tiny`."""


NAMES = {16.0: "bfloat16", 32.0: "float32"}


def footprint(quant: str, **changed: Any) -> dict[str, Any]:
    """As a manifest holds it; of int8, embeddings and head are in bfloat16 still."""
    kept = 16.0 if quant == "int8" else KINDS[quant]
    numbers = {"linear": (6_291_456, KINDS[quant]), "embeddings": (524_288, kept)}
    numbers |= {"lm_head": (524_288, kept), "norms": (4_352, 32.0)}
    parts: list[dict[str, Any]] = [
        {
            "part": part,
            "bytes": round(count * bits / 8),
            "parameters": count,
            "dtype": quant if part == "linear" else NAMES.get(bits, quant),
            "bits_per_weight": bits,
            "plain": bits >= 16,
            "tied": False,
        }
        for part, (count, bits) in numbers.items()
    ]
    size = sum(part["bytes"] for part in parts)
    return {
        "weights_disk_bytes": size + 12_000,
        "weight_parts": parts,
        "bits_per_weight": 8 * size / sum(part["parameters"] for part in parts),
        "loaded_parts": None,
        "memory_after_load_bytes": 350_000_000,
        "memory_peak_bytes": 360_000_000,
        "pss_after_load_bytes": 340_000_000,
        "gpu_after_load_bytes": None,
        "gpu_peak_bytes": None,
        "first_ready_s": 2.4,
        "load_s": 2.5,
    } | changed


def write_showcase(run_dir: Path) -> Path:
    """Five variants at 1 and 8 users: one failed, one invalid, a few warnings."""
    write_run(run_dir)
    speeds: dict[tuple[str, str], tuple[float, float, float, int, float]] = {
        ("vllm", "fp32"): (42.0, 11.5, 2.2, 29_400_000, 58.2),
        ("vllm", "bf16"): (38.0, 9.1, 1.6, 29_400_000, 57.1),
        ("llamacpp", "f16"): (21.0, 4.4, 2.6, 14_800_000, 0.9),
        ("llamacpp", "q8_0"): (17.0, 3.1, 2.9, 7_900_000, 0.8),
        ("llamacpp", "q4_k_m"): (19.0, 2.4, 4.1, 4_900_000, 0.7),
    }
    for (engine, quant), (ttft, itl, slow, size, load_s) in speeds.items():
        for users in (1, 8):
            more = 1.0 if users == 1 else slow
            load = Load(users=users, ttft_ms=ttft * more, itl_ms=itl * more, tokens=48, jitter=0.3)
            facts: dict[str, Any] = {
                "weights_bytes": size,
                "load_s": load_s,
                "rss_peak_bytes": (1_350_000_000 if engine == "vllm" else 96_000_000)
                + size * 3
                + users * 1_500_000,
            }
            facts["footprint"] = footprint(
                quant,
                weights_disk_bytes=size,
                memory_after_load_bytes=facts["rss_peak_bytes"] - users * 1_500_000,
                memory_peak_bytes=facts["rss_peak_bytes"],
                first_ready_s=load_s - 0.1,
                load_s=load_s,
            )
            _write_showcase_cell(run_dir, engine, quant, load, facts)
    return run_dir


def _write_showcase_cell(
    run_dir: Path, engine: str, quant: str, load: Load, facts: dict[str, Any]
) -> None:
    cell = (engine, quant, load.users)
    if cell == ("vllm", "fp32", 8):
        facts |= {
            "status": "failed",
            "reason": "the server exited with code 1 while loading: not enough memory for KV cache",
            "load_s": None,
            "rss_peak_bytes": None,
            "footprint": None,
        }
        write_cell(run_dir, engine, quant, load, measured=False, **facts)
        return
    if cell == ("llamacpp", "q8_0", 8):
        facts |= {"harness": {"cpu_s": 12.0, "requests_started": 100_000}}
    if cell == ("llamacpp", "q4_k_m", 8):
        load = Load(**{**_fields(load), "fails": lambda n: "reset" if n % 250 == 249 else None})
    if cell == ("llamacpp", "q4_k_m", 1):
        load = Load(**{**_fields(load), "changed": {"cached_tokens": 64}})
    if cell == ("vllm", "bf16", 8):
        load = Load(**{**_fields(load), "sent_after_ms": 4.2})
        facts["warnings"] = [
            {
                "name": "noisy-host",
                "seen": "7 % of the processor went to other programs",
                "cause": "something else ran on this machine",
                "advice": "stop it, measure again",
            }
        ]
    write_cell(run_dir, engine, quant, load, **facts)


def _fields(load: Load) -> dict[str, Any]:
    return dict(vars(load))
