"""Claims against made-up runs whose true ratios are known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import Load, write_cell, write_run

from quantswarm.bench.decide.quantities import QUANTITIES, Evidence
from quantswarm.bench.judge.claimed import (
    LARGER,
    NOT_MEASURED,
    NOT_SETTLED,
    REPRODUCED,
    SMALLER,
    Found,
    _sentence,
    _settling,
    theirs_text,
    times,
    verdict,
)
from quantswarm.bench.judge.summary import summarise


def claim(theirs: float = 2.0, **changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "source": "a page",
        "statement": "int8 is twice as fast",
        "theirs": theirs,
        "theirs_most": None,
        "metric": "output_throughput",
        "variant": "vllm-int8",
        "baseline": "vllm-fp32",
        "users": 1,
        "model": "tiny",
        "note": "",
    }
    return made | changed


def write(folder: Path, *claims: dict[str, Any], **extra: Any) -> Path:
    """int8 takes half the time of fp32 for everything, and two thirds of its memory."""
    matrix = {"name": "m", "baseline": "vllm-fp32", "rounds": 1, "claims": list(claims)}
    run = write_run(folder, matrix=matrix, **extra)
    slow = Load(ttft_ms=40.0, itl_ms=10.0, tokens=24, jitter=0.2)
    fast = Load(ttft_ms=20.0, itl_ms=5.0, tokens=24, jitter=0.2)
    write_cell(run, "vllm", "fp32", slow, rss_peak_bytes=600_000_000, kv_cache_tokens=1000)
    write_cell(run, "vllm", "int8", fast, rss_peak_bytes=400_000_000, kv_cache_tokens=2000)
    return run


def judged(folder: Path, *claims: dict[str, Any], **extra: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = summarise(write(folder, *claims, **extra))["claims"]
    return found


def test_a_true_claim_is_reproduced_with_the_interval_of_the_comparison(tmp_path: Path) -> None:
    (found,) = judged(tmp_path / "run", claim(2.0))
    assert found["verdict"] == REPRODUCED
    assert found["ours"] == pytest.approx(2.0, rel=0.05)
    assert found["low"] <= found["ours"] <= found["high"]
    assert found["ratio_of_ratios"] == pytest.approx(1.0, rel=0.05)
    assert found["variant_value"] / found["baseline_value"] == pytest.approx(found["ours"])
    assert (found["title"], found["unit"]) == ("output throughput", "tok/s")
    assert found["sentence"].startswith("Reproduced: output throughput of vllm-int8 is")
    assert "at 1 user, where 2.00× is reported." in found["sentence"]


@pytest.mark.parametrize(
    ("metric", "theirs", "kind"),
    [
        ("output_throughput", 3.0, SMALLER),
        ("output_throughput", 1.2, LARGER),
        ("output_throughput", 1.0, LARGER),
        ("output_throughput", 0.3, SMALLER),
        ("e2e_p50_ms", 0.5, REPRODUCED),
        ("e2e_p50_ms", 0.25, SMALLER),
        ("e2e_p50_ms", 0.9, LARGER),
        ("decode_rate", 2.0, REPRODUCED),
        ("memory_gb", 2 / 3, REPRODUCED),
        ("memory_gb", 0.4, SMALLER),
        ("kv_cache_tokens", 2.0, REPRODUCED),
    ],
)
def test_smaller_and_larger_speak_of_the_effect(
    tmp_path: Path, metric: str, theirs: float, kind: str
) -> None:
    (found,) = judged(tmp_path / "run", claim(theirs, metric=metric))
    assert found["verdict"] == kind, found["sentence"]
    assert found["sentence"].lower().startswith(kind)
    assert found["ratio_of_ratios"] == pytest.approx(found["ours"] / theirs)


def test_an_effect_the_other_way_is_said(tmp_path: Path) -> None:
    (found,) = judged(tmp_path / "run", claim(0.27))
    assert found["sentence"].startswith(
        "Smaller, and the other way: output throughput of vllm-int8 is"
    )


def test_inside_a_reported_range_the_ratios_agree(tmp_path: Path) -> None:
    inside, below = judged(
        tmp_path / "run", claim(1.5, theirs_most=3.0), claim(4.0, theirs_most=5.0)
    )
    assert (inside["verdict"], inside["ratio_of_ratios"]) == (REPRODUCED, 1.0)
    assert below["verdict"] == SMALLER
    assert below["ratio_of_ratios"] == pytest.approx(below["ours"] / 4)
    assert "where 4.00× to 5.00× is reported" in below["sentence"]


def test_metrics_without_blocks_have_no_interval(tmp_path: Path) -> None:
    (found,) = judged(tmp_path / "run", claim(2 / 3, metric="memory_gb"))
    assert (found["low"], found["high"]) == (None, None)


ABSENT = {"variant": "on a GPU", "model": "tiny", "reason": "needs an NVIDIA GPU", "sentence": "x"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"variant": "on a GPU"}, "on a GPU needs an NVIDIA GPU"),
        ({"baseline": "vllm-awq"}, "vllm-awq failed: no kernel"),
        ({"users": 8}, "vllm-int8 has no cell at 8 users in this run"),
        ({"model": "other"}, "vllm-int8 has no cell at 1 user in this run"),
        ({"variant": "vllm-bf16"}, "vllm-bf16: too many of its requests failed"),
        ({"metric": "gpu_memory_gb"}, "peak GPU memory of vllm-int8 is not known: no GPU memory"),
        ({"metric": "kl_mean"}, "mean KL divergence of vllm-int8 is not known: quality was not"),
        ({"metric": "memory_after_load_gb"}, "memory after load was not read"),
        ({"metric": "of another version"}, "this version knows no metric of another version"),
    ],
)
def test_what_was_not_measured_says_why(
    tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    run = write(tmp_path / "run", claim(2.0, **changed), left_out=[ABSENT])
    reason_and_log = "no kernel\nand a log"
    write_cell(run, "vllm", "awq", Load(), measured=False, status="failed", reason=reason_and_log)
    write_cell(run, "vllm", "bf16", Load(fails=lambda number: "reset" if number % 3 else None))
    summary = summarise(run)
    (found,) = summary["claims"]
    assert found["verdict"] == NOT_MEASURED
    assert found["ours"] is found["ratio_of_ratios"] is found["variant_value"] is None
    assert reason in found["reason"]
    assert found["sentence"] == f"Not measured: {found['reason']}."
    assert summary["left_out"] == [ABSENT]


def test_a_run_without_claims_has_none(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_cell(run, "vllm", "fp32", Load())
    assert summarise(run)["claims"] == []
    (run / "run.json").unlink()
    assert (summarise(run)["claims"], summarise(run)["left_out"]) == ([], [])


def test_footprint_of_a_cell_is_read_where_it_is_known(tmp_path: Path) -> None:
    loaded = {"memory_after_load_bytes": 2_000_000_000}
    cells: list[dict[str, Any]] = [{"footprint": loaded}, {"footprint": None}, {}]
    assert QUANTITIES["memory_after_load_gb"].of(Evidence(cells=cells)) == 2.0


def test_an_interval_that_holds_everything_settles_nothing() -> None:
    wide = Found(ratio=1.9, low=0.8, high=4.0)
    told = _settling(claim(2.0), wide)
    assert told.reason == "the interval is too wide to settle it"
    assert verdict(claim(2.0), told) == NOT_SETTLED
    sentence = _sentence(claim(2.0), QUANTITIES["output_throughput"], told, NOT_SETTLED)
    assert sentence == (
        "Not settled: output throughput of vllm-int8 is 1.90× (0.80 to 4.00) that of vllm-fp32 at"
        " 1 user, where 2.00× is reported: the interval is too wide to settle it."
    )
    assert _settling(claim(23.0), wide) is wide
    assert verdict(claim(23.0), wide) == SMALLER
    narrow = Found(ratio=1.7, low=1.4, high=2.1)
    assert _settling(claim(2.0), narrow) is narrow
    assert verdict(claim(2.0), narrow) == REPRODUCED
    assert verdict(claim(2.2), narrow) == SMALLER


RATIOS = st.floats(0.02, 50)


@given(ours=RATIOS, theirs=RATIOS)
def test_turning_a_ratio_over_changes_no_verdict(ours: float, theirs: float) -> None:
    """Twice as fast and half the time are one claim."""
    forth = verdict(claim(theirs), Found(ratio=ours))
    back = verdict(claim(1 / theirs), Found(ratio=1 / ours))
    if abs(abs(math.log(ours / theirs)) - math.log(1.1)) > 1e-9 and theirs != 1:
        assert forth == back


@given(ours=RATIOS, theirs=st.floats(1.01, 50))
def test_verdicts_follow_the_number_line(ours: float, theirs: float) -> None:
    kind = verdict(claim(theirs), Found(ratio=ours))
    if kind == SMALLER:
        assert ours < theirs / 1.09
    elif kind == LARGER:
        assert ours > theirs * 1.09
    else:
        assert kind == REPRODUCED
        assert abs(math.log(ours / theirs)) <= math.log(1.1) + 1e-9


def test_ratios_are_written_for_people() -> None:
    assert [times(ratio) for ratio in (0.27, 1.144, 10.0, 12.5, 23.0)] == [
        "0.27×",
        "1.14×",
        "10×",
        "12.50×",
        "23×",
    ]
    assert theirs_text(claim(2, theirs_most=3)) == "2.00× to 3.00×"
