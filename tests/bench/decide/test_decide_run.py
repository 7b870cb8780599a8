"""The decision of a run: beside the baseline, on the front, over the users, at what cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from decided_run import document, write_decided
from made_run import Load, write_cell

from quantswarm.bench.compare.entries import run_of
from quantswarm.bench.compare.field import Field
from quantswarm.bench.decide.capacity import Trial, capacities, capacity
from quantswarm.bench.decide.case import Case, case_of_run
from quantswarm.bench.decide.constraint import parse_constraints
from quantswarm.bench.decide.document import constrained_as_json, decision_as_json
from quantswarm.bench.decide.option import Source
from quantswarm.bench.decide.price import Price
from quantswarm.bench.decide.spent import spent
from quantswarm.bench.judge.summary import summarise

RESULTS = Path(__file__).parents[3] / "docs/results/2026-11-21-cpu-avx512"
PRICE = Price(per_hour=3.6, currency="EUR", source="made up")


@pytest.fixture(scope="module")
def decision(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = summarise(write_decided(tmp_path_factory.mktemp("runs") / "a"))[
        "decision"
    ]
    return found


def row(decision: dict[str, Any], variant: str, users: int) -> dict[str, Any]:
    (found,) = (r for r in decision["rows"] if (r["variant"], r["users"]) == (variant, users))
    return dict(found)


def test_speed_memory_and_quality_stand_beside_the_baseline(decision: dict[str, Any]) -> None:
    small = row(decision, "llamacpp-q4_k_m", 1)
    assert small["speed"]["tpot_p50_ms"]["ratio"] == pytest.approx(0.5, rel=0.02)
    assert small["speed"]["output_tok_s"]["verdict"] == "better"
    assert small["size"]["memory_gb"] == {"saved": pytest.approx(0.5), "verdict": "better"}
    assert small["quality"]["increase_percent"] == pytest.approx(3.05, abs=0.01)
    assert small["quality"]["verdict"] == "worse"
    assert row(decision, "llamacpp-q8_0", 1)["quality"]["verdict"] == "no difference"
    assert row(decision, "llamacpp-f16", 1)["speed"]["output_tok_s"] is None
    assert small["values"]["tokens_per_joule"] is None
    assert small["missing"]["tokens_per_joule"]
    assert small["missing"]["cost_per_million"] == "no price was given"


def test_the_front_names_who_dominates_whom(decision: dict[str, Any]) -> None:
    one, eight = decision["fronts"]
    assert one["axes"] == ["output_tok_s", "memory_gb", "perplexity_increase_percent"]
    assert "llamacpp-q4_k_m" in one["on"]
    # f16 loses nothing, but q8_0 loses nothing that can be told, and is faster and smaller.
    assert one["barely"] == [{"variant": "llamacpp-f16", "by": "llamacpp-q8_0"}]
    assert set(eight["on"]) == {"llamacpp-f16", "llamacpp-q8_0", "llamacpp-q4_k_m"}


def test_the_lead_falls_under_1_between_the_loads_and_the_kernel_is_named(
    decision: dict[str, Any],
) -> None:
    (lead,) = (one for one in decision["leads"] if one["variant"] == "llamacpp-q4_k_m")
    (crossing,) = lead["crossings"]
    assert (crossing["after"], crossing["before"], crossing["way"]) == (1, 8, "falls")
    assert crossing["clear"]
    assert 1 < crossing["at"] < 8
    assert "kernel q4_k_m_gemm_avx512" in lead["sentence"]
    assert "falls under 1 between 1 and 8 users" in lead["sentence"]
    assert "reads the weights once" in decision["why"]


def test_invalid_cells_never_enter_even_where_they_are_compared(tmp_path: Path) -> None:
    run = write_decided(tmp_path / "a")
    bad: dict[str, Any] = {"status": "invalid", "reason": "the schedule was missed"}
    write_cell(run, "llamacpp", "q2_k", Load(users=8, itl_ms=1.0), **bad)
    found = summarise(run, include_invalid=True)
    assert any(cell["compared"] for cell in found["cells"] if cell["quant"] == "q2_k")
    assert "q2_k" not in json.dumps({k: found["decision"][k] for k in ("rows", "fronts", "leads")})
    assert found["decision"]["left_out"] == [
        {
            "cell": "llamacpp-q2_k-u8",
            "variant": "llamacpp-q2_k",
            "why": "INVALID: the schedule was missed",
        }
    ]


def test_without_quality_the_front_is_over_the_rest_and_a_gap_is_named(tmp_path: Path) -> None:
    bare = summarise(write_decided(tmp_path / "bare", quality=False))["decision"]
    assert bare["fronts"][0]["axes"] == ["output_tok_s", "memory_gb"]
    assert bare["fronts"][0]["on"] == ["llamacpp-q4_k_m"]
    assert {lost["by"] for lost in bare["fronts"][0]["dominated"]} == {"llamacpp-q4_k_m"}
    run = write_decided(tmp_path / "gap")
    (run / "quality/llamacpp-q8_0.json").unlink()
    (out,) = summarise(run)["decision"]["fronts"][0]["left_out"]
    assert out == {
        "variant": "llamacpp-q8_0",
        "why": "perplexity increase: quality was not measured",
    }


def test_a_document_of_another_model_is_not_taken(tmp_path: Path) -> None:
    run = write_decided(tmp_path / "a")
    other = document("q8_0", model="large")
    (run / "quality/llamacpp-q8_0.json").write_text(json.dumps(other))
    assert row(summarise(run)["decision"], "llamacpp-q8_0", 1)["quality"] is None


def test_cost_and_energy_of_a_cell(tmp_path: Path) -> None:
    cell = summarise(write_decided(tmp_path / "a", quality=False))["cells"][0]
    told = spent(cell, PRICE)
    assert told["cost_per_million"] == pytest.approx(1000 / cell["output_throughput"])
    assert told["tokens_per_joule"] is None
    read = {**cell, "resources": {"cpu_package_joules": 40.0, "gpu_joules": None}}
    tokens = cell["output_throughput"] * cell["window_s"]
    assert spent(read, None)["tokens_per_joule"] == pytest.approx(tokens / 40)
    assert spent(read, None)["energy_of"] == "CPU packages (RAPL)"
    # With GPUs whose energy is not known, the packages alone would flatter.
    assert spent(read | {"host": {"gpus": ["one"]}}, None)["tokens_per_joule"] is None


def test_constraints_are_kept_missed_or_not_known(tmp_path: Path) -> None:
    summary = summarise(write_decided(tmp_path / "a"))
    asked = parse_constraints(["memory_gb<0.25", "tokens_per_joule>1"])
    found = constrained_as_json(case_of(summary), asked)
    assert found["asked"] == ["memory_gb < 0.25", "tokens_per_joule > 1"]
    assert not any(option["meets"] for option in found["options"])
    large = next(o for o in found["options"] if o["variant"] == "llamacpp-f16")
    memory, energy = large["constraints"]
    assert memory["beyond"] == pytest.approx(0.6)
    assert "missed by 60%" in memory["words"]
    assert energy["value"] is None
    assert energy["unknown"]


def case_of(summary: dict[str, Any], baseline: str = "llamacpp-f16") -> Case:
    cells = summary["cells"]
    field = Field(run_of(cell, None) for cell in cells)
    quality = summary.get("quality") or {}
    found = case_of_run(field, cells, quality, baseline=baseline, price=PRICE)
    assert found is not None
    return found


def test_real_summaries_of_before_there_were_decisions_can_be_decided() -> None:
    summary = json.loads((RESULTS / "default-summary.json").read_text(encoding="utf-8"))
    found = decision_as_json(case_of(summary))
    lead = next(
        one
        for one in found["leads"]
        if (one["variant"], one["against"]) == ("llamacpp-q4_k_m", "llamacpp-f16")
    )
    first, last = (step["ratio"] for step in lead["steps"])
    cells = {cell["cell"]: cell["output_throughput"] for cell in summary["cells"]}
    assert first == pytest.approx(cells["llamacpp-q4_k_m-u1"] / cells["llamacpp-f16-u1"])
    assert last == pytest.approx(cells["llamacpp-q4_k_m-u8"] / cells["llamacpp-f16-u8"])
    # No blocks are in a summary, so nothing tells the noise, and nothing is called better.
    assert {step["verdict"] for step in lead["steps"]} == {"not known"}
    assert "noise not known" in lead["sentence"]


def test_a_missing_baseline_is_replaced_and_that_is_said() -> None:
    summary = json.loads((RESULTS / "default-summary.json").read_text(encoding="utf-8"))
    found = case_of(summary, baseline="vllm-int8")
    assert found.baseline == "llamacpp-f16"
    assert found.remark == "vllm-int8 has no valid cell; llamacpp-f16 stands in its place"


@pytest.mark.parametrize(
    ("met", "missed", "expected"),
    [
        ([1, 2, 4], [8], (4, 8)),
        ([1, 2], [], (2, None)),
        ([], [1, 2], (None, 1)),
        ([1, 8], [4], (8, 4)),
        ([], [], (None, None)),
    ],
)
def test_capacity(met: list[int], missed: list[int], expected: tuple[Any, Any]) -> None:
    trials = [Trial(load=load, met=True) for load in met]
    trials += [Trial(load=load, met=False) for load in missed]
    assert capacity(trials) == expected


def slo_cell(users: int, met: int, **changed: Any) -> Source:
    slo = {"ttft_ms": 200.0, "tpot_ms": None, "e2e_ms": None, "share": 0.9}
    cell = {
        "cell": f"u{users}",
        "status": "ok",
        "model": "tiny",
        "users": users,
        "arrivals": None,
        "failed_gates": [],
        "slo": {"slo": slo, "met": met, "begun": 100},
    }
    return Source(cell=cell | changed, variant="v")


def test_capacity_of_cells() -> None:
    (found,) = capacities([slo_cell(1, 100), slo_cell(8, 91), slo_cell(16, 80)])
    assert found.sentence == "v: 8 users; no longer at 16 users."
    (found,) = capacities([slo_cell(1, 100)])
    assert found.sentence == "v: at least 1 user, the most measured."
    (found,) = capacities([slo_cell(1, 10)])
    assert found.sentence == "v: under 1 user, the least measured."


def test_a_server_that_fell_behind_met_nothing_and_other_invalid_cells_say_nothing() -> None:
    behind = slo_cell(8, 100, status="invalid", failed_gates=["kept-up"])
    (found,) = capacities([slo_cell(1, 100), behind, slo_cell(16, 100, status="invalid")])
    assert (found.most, found.fails_at) == (1, 8)
