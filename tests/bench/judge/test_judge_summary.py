import json
from pathlib import Path
from typing import Any

import pytest
from made_run import Load, write_cell, write_run, write_showcase

from quantswarm.bench.judge.answer import answers, fastest_unquantized, unquantized
from quantswarm.bench.judge.summary import summarise, write_summary
from quantswarm.models.errors import BadFile

PUBLISHED = [
    *("engine", "quant", "model", "users", "status", "reason", "output_throughput"),
    *("request_throughput", "ttft_p50_ms", "ttft_p95_ms", "tpot_p50_ms", "itl_p99_ms"),
    *("e2e_p50_ms", "requests", "failures", "weights_bytes", "rss_peak_bytes", "load_s"),
    "warnings",
]


def test_the_published_keys_come_first_in_every_cell(tmp_path: Path) -> None:
    summary = write_summary(write_showcase(tmp_path / "run"))
    assert summary["schema"] == 1
    assert summary["run"] == str(tmp_path / "run")
    assert len(summary["cells"]) == 10
    for cell in summary["cells"]:
        assert list(cell)[: len(PUBLISHED)] == PUBLISHED
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    assert [p.name for p in (tmp_path / "run").glob(".summary*")] == []


def test_a_failed_cell_is_null_and_has_its_reason(tmp_path: Path) -> None:
    cells = summarise(write_showcase(tmp_path / "run"))["cells"]
    cell = next(c for c in cells if c["cell"] == "vllm-fp32-u8")
    assert cell["status"] == "failed"
    assert "not enough memory" in cell["reason"]
    for key in ("output_throughput", "ttft_p50_ms", "itl_p99_ms", "requests", "failures", "load_s"):
        assert cell[key] is None


def test_one_bad_cell_does_not_take_the_others_along(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    write_cell(run_dir, "vllm", "fp32", Load())
    bad = write_cell(run_dir, "vllm", "bf16", Load())
    (bad / "records.jsonl").write_text("{}\n")
    (run_dir / "cells" / "llamacpp-python-q8_0-u16").mkdir()
    (run_dir / "cells" / "scratch").mkdir()
    cells = {cell["cell"]: cell for cell in summarise(run_dir)["cells"]}
    assert set(cells) == {"vllm-fp32-u1", "vllm-bf16-u1", "llamacpp-python-q8_0-u16"}
    assert cells["vllm-fp32-u1"]["status"] == "ok"
    assert cells["vllm-bf16-u1"]["status"] == "invalid"
    assert "line 1" in cells["vllm-bf16-u1"]["reason"]
    assert cells["vllm-bf16-u1"]["weights_bytes"] == 14_700_000
    lost = cells["llamacpp-python-q8_0-u16"]
    assert (lost["engine"], lost["quant"], lost["users"]) == ("llamacpp-python", "q8_0", 16)
    assert (lost["model"], lost["status"]) == ("tiny", "invalid")


def test_a_directory_without_cells_is_a_mistake(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadFile, match="run directory"):
            summarise(path)


def test_a_run_without_run_json_can_still_be_judged(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    write_cell(run_dir, "vllm", "fp32", Load())
    (run_dir / "run.json").unlink()
    summary = summarise(run_dir)
    assert summary["run_id"] == "run"
    assert summary["started_utc"] is None
    assert summary["host"]["cores"] == [0, 1]


@pytest.mark.parametrize(
    ("name", "engine", "quant"),
    [
        ("vllm-fp8-kv-u8", "vllm", "fp8-kv"),
        ("vllm-fp8-kv-upstream-r2.5-round1", "vllm", "fp8-kv-upstream"),
        ("llamacpp-python-q4_0-u1", "llamacpp-python", "q4_0"),
        ("mine-unheard_of-trace", "mine", "unheard_of"),
    ],
)
def test_a_cell_without_a_manifest_is_known_by_its_folder(
    tmp_path: Path, name: str, engine: str, quant: str
) -> None:
    run_dir = write_run(tmp_path / "run")
    write_cell(run_dir, "vllm", "fp32", Load())
    (run_dir / "cells" / name).mkdir()
    lost = next(cell for cell in summarise(run_dir)["cells"] if cell["cell"] == name)
    assert (lost["engine"], lost["quant"], lost["status"]) == (engine, quant, "invalid")


def test_what_served_a_cell_reaches_the_summary(tmp_path: Path) -> None:
    """And a run made before it was recorded has None."""
    run_dir = write_run(tmp_path / "run")
    told: dict[str, Any] = {"kernel": "k", "kv_cache_dtype": "fp8_e4m3", "kv_cache_tokens": 262144}
    write_cell(run_dir, "vllm", "fp8-kv", Load(), **told)
    write_cell(run_dir, "vllm", "fp32", Load())
    new, old = sorted(summarise(run_dir)["cells"], key=lambda cell: cell["kernel"] is None)
    assert {key: new[key] for key in told} == told
    assert {key: old[key] for key in told} == dict.fromkeys(told)


def _cell(quant: str, speed: float | None, **changed: Any) -> dict[str, Any]:
    return {
        "cell": f"e-{quant}",
        "engine": "e",
        "quant": quant,
        "model": "tiny",
        "users": 8,
        "status": "ok",
        "output_throughput": speed,
        "requests": 100,
        "failures": 0,
    } | changed


def test_the_answer_is_the_fastest_valid_variant() -> None:
    cells = [_cell("fp32", 50.0), _cell("bf16", 80.0), _cell("int8", 100.0)]
    (answer,) = answers(cells)
    assert (answer["best"], answer["baseline"], answer["ratio"]) == ("e-int8", "e-bf16", 1.25)
    assert "1.25× the fastest unquantized variant (e bf16, 80.0 tok/s)" in answer["sentence"]


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "invalid"},
        {"status": "failed"},
        {"failures": 2},
        {"output_throughput": None},
    ],
)
def test_an_unsound_cell_is_never_the_answer(changed: dict[str, Any]) -> None:
    (answer,) = answers([_cell("int8", 900.0, **changed), _cell("fp32", 50.0)])
    assert answer["best"] == "e-fp32"
    assert answer["left_out"] == ["e-int8"]
    assert "no quantized variant was faster" in answer["sentence"]
    assert "1 cell is left out" in answer["sentence"]


def test_an_unsound_baseline_gives_no_ratio() -> None:
    (answer,) = answers([_cell("int8", 100.0), _cell("fp32", 50.0, status="invalid")])
    assert (answer["best"], answer["baseline"], answer["ratio"]) == ("e-int8", None, None)


def test_the_hosts_fastest_unquantized_variant_is_known_by_the_heaviest_load() -> None:
    light = [_cell("fp32", 90.0, users=1), _cell("bf16", 80.0, users=1)]
    heavy = [_cell("fp32", 100.0), _cell("bf16", 200.0), _cell("int8", 300.0)]
    found = fastest_unquantized([*heavy, *light])
    assert found is not None
    assert found["cell"] == "e-bf16"
    assert fastest_unquantized([_cell("int8", 300.0)]) is None
    assert fastest_unquantized([*light, _cell("int8", 300.0)]) is light[0]


def test_without_a_sound_cell_there_is_no_answer() -> None:
    (answer,) = answers([_cell("fp32", None, status="failed")])
    assert answer["best"] is None
    assert "no answer" in answer["sentence"]


def test_levels_and_models_are_answered_apart() -> None:
    cells = [_cell("fp32", 1.0, users=u, model=m) for u in (8, 1) for m in ("tiny", "big")]
    assert [(a["model"], a["users"]) for a in answers(cells)] == [
        ("big", 1),
        ("big", 8),
        ("tiny", 1),
        ("tiny", 8),
    ]


def test_which_names_are_unquantized() -> None:
    assert all(unquantized(name) for name in ("fp32", "bf16", "fp16", "f16"))
    assert not any(unquantized(name) for name in ("q8_0", "fp8", "int8", "q4_k_m", "fp8-kv"))
