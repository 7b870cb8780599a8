"""Other tools' result files in our form. The files are real ones, cut down to a few requests.

Running the tools themselves needs their installation and is no part of the suite:
`quantswarm selftest --peers` does that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from quantswarm.bench.selftest.parity.peer import METRICS, Load, Peer, Quantiles
from quantswarm.bench.selftest.parity.truth import FORMULAS, IN_WORDS
from quantswarm.bench.selftest.peers import OURS, peer_named, peers
from quantswarm.models.errors import RunFailed, UnknownName

FILES = Path(__file__).with_name("peers")
EACH = sorted(peers())


def load(folder: Path, **more: Any) -> Load:
    fields: dict[str, Any] = {"api": "completions", "users": 3, "requests": 12, **more}
    return Load(
        root_url="http://127.0.0.1:1",
        model="scripted:seed=0",
        prompt_tokens=64,
        output_tokens=8,
        lasts_s=6.0,
        folder=folder,
        tokenizer=Path("/some/tiny"),
        **fields,
    )


def test_they_are_found_by_their_files_ours_first() -> None:
    assert list(peers()) == [OURS, "aiperf", "guidellm", "openai-sdk", "vllm-bench"]
    with pytest.raises(UnknownName, match="Did you mean guidellm"):
        peer_named("guidelm")


@pytest.mark.parametrize("name", EACH)
def test_each_says_what_its_words_mean(name: str) -> None:
    peer = peer_named(name)
    assert set(peer.meanings) == set(METRICS)
    assert {meaning.formula for meaning in peer.meanings.values()} <= set(FORMULAS)
    assert set(FORMULAS) == set(IN_WORDS)
    assert peer.requirement is None or "==" in peer.requirement


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("name", EACH)
def test_each_is_told_the_whole_load(name: str, api: str, tmp_path: Path) -> None:
    start = peer_named(name).start(Path("/env/bin/python"), load(tmp_path, api=api))
    told = " ".join(start.argv) + "".join(p.read_text() for p in tmp_path.iterdir())
    assert start.argv[0].startswith("/env/bin/")
    assert "http://127.0.0.1:1" in told
    assert "scripted:seed=0" in told
    assert ("chat" in told) == (api == "chat")
    assert "12" in told or name == OURS


@pytest.mark.parametrize("name", EACH)
def test_a_tool_that_left_nothing_is_a_failure_and_no_number(name: str, tmp_path: Path) -> None:
    if name == OURS:
        (tmp_path / "records.jsonl").touch()
    with pytest.raises(RunFailed, match="No such file"):
        peer_named(name).read(load(tmp_path))


def peer_with(folder: Path, name: str, **files: str) -> Peer:
    for given, wanted in files.items():
        shutil.copy(FILES / given.replace("__", ".").replace("_", "-"), folder / wanted)
    return peer_named(name)


def test_vllm_bench(tmp_path: Path) -> None:
    peer = peer_with(tmp_path, "vllm-bench", vllm_bench__json="result.json")
    found = peer.read(load(tmp_path))
    assert (found.succeeded, found.failed, found.output_tokens) == (11, 6, 80)
    assert found.output_tokens_per_s == pytest.approx(78.88, abs=0.01)
    assert found.latencies["itl"] == Quantiles(p50=5.035762999796134, p99=9.772789439884948)
    assert [(one.id, one.ok) for one in found.requests[:3]] == [
        ("bench-0", True),
        ("bench-1", False),
        ("bench-2", True),
    ]


def test_guidellm(tmp_path: Path) -> None:
    peer = peer_with(tmp_path, "guidellm", guidellm__json="result.json")
    found = peer.read(load(tmp_path))
    assert (found.succeeded, found.failed, found.output_tokens) == (10, 7, 75)
    assert found.latencies["tpot"].p50 == pytest.approx(9.44486, abs=1e-5)
    assert [one.ok for one in found.requests] == [True] * 3 + [False] * 3
    good, bad = found.requests[0], found.requests[-1]
    assert good.id is not None
    assert "cmpl" not in good.id
    assert bad.started_s is not None


def test_guidellm_of_nothing_writes_zeros_which_are_not_numbers(tmp_path: Path) -> None:
    peer = peer_with(tmp_path, "guidellm", guidellm__json="result.json")
    whole = json.loads((tmp_path / "result.json").read_text())
    for name in ("time_to_first_token_ms", "inter_token_latency_ms"):
        whole["benchmarks"][0]["metrics"][name]["successful"]["count"] = 0
    (tmp_path / "result.json").write_text(json.dumps(whole))
    assert peer.read(load(tmp_path)).latencies["ttft"] == Quantiles(p50=None, p99=None)


def test_aiperf(tmp_path: Path) -> None:
    peer = peer_with(
        tmp_path,
        "aiperf",
        aiperf__json="profile_export_aiperf.json",
        aiperf__jsonl="profile_export.jsonl",
    )
    found = peer.read(load(tmp_path))
    assert (found.succeeded, found.failed, found.output_tokens) == (12, 5, 80)
    assert found.latencies["tpot"].p50 == pytest.approx(4.96797, abs=1e-5)
    assert found.latencies["itl"].p99 == pytest.approx(13.2078, abs=1e-4)
    assert [one.ok for one in found.requests] == [True, False, True, False]


def test_the_openai_package(tmp_path: Path) -> None:
    rows = [
        {"id": "sdk-0", "sent_ns": 0, "event_ns": [5_000_000, 7_000_000, 9_000_000], "tokens": 3},
        {"id": "sdk-1", "sent_ns": 10_000_000, "event_ns": [20_000_000], "tokens": None},
    ]
    rows[0]["error"], rows[1]["error"] = None, "APIError: boom"
    (tmp_path / "openai-result.json").write_text(json.dumps(rows))
    found = peer_named("openai-sdk").read(load(tmp_path))
    assert (found.succeeded, found.failed, found.output_tokens) == (1, 1, 3)
    assert found.latencies["ttft"].p50 == 5.0
    assert found.latencies["tpot"].p50 == found.latencies["itl"].p50 == 2.0
    assert found.output_tokens_per_s == pytest.approx(150.0)
    assert [one.ok for one in found.requests] == [True, False]
