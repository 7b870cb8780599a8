"""One cell over time: curves from raw files, thinned without losing a peak, drawn small."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import made_run
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import START, Load, S

from quantswarm.bench.judge.summary import summarise
from quantswarm.bench.report.page import as_page
from quantswarm.bench.report.timeline import MOST_POINTS, Timeline, thinned, timeline
from quantswarm.bench.report.timeline_svg import nice, timeline_svg

LOAD = Load(users=3, ttft_ms=40, itl_ms=10, tokens=20, warmup_s=4, window_s=20)
MOST_PAGE_BYTES = 1_500_000


def sampled(second: float, **changed: Any) -> dict[str, Any]:
    return {
        "ns": START + int(second * S),
        "cpu_s": 0.5 * second,
        "generator_cpu_s": 0.1 * second,
        "rss_bytes": 50_000_000,
        "pss_bytes": None,
        "cores": [{"core": 0, "busy_s": second, "steal_s": 0.02 * second}],
        "gpus": [],
    } | changed


def scraped(second: float, **changed: Any) -> dict[str, Any]:
    values = {"running": 3, "waiting": 1, "kv_cache_use": 0.25} | changed
    return {"ns": START + int(second * S), "took_ns": 1, "values": values}


def cell(run: Path, *, gpus: list[dict[str, Any]] | None = None, load: Load = LOAD) -> Path:
    folder = made_run.write_cell(run, "vllm", "bf16", load)
    length = load.warmup_s + load.window_s + 5
    samples = [sampled(half / 2, gpus=gpus or []) for half in range(2 * length)]
    scrapes = [scraped(second) for second in range(length)]
    for name, lines in (("samples", samples), ("engine", scrapes)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def drawn(folder: Path) -> Timeline:
    found = timeline(folder)
    assert found is not None
    return found


def curves(line: Timeline) -> dict[tuple[str, str], list[tuple[float, float]]]:
    return {(row.title, curve.label): curve.points for row in line.rows for curve in row.curves}


def test_all_curves_are_on_one_axis_that_begins_with_the_window(tmp_path: Path) -> None:
    line = drawn(cell(made_run.write_run(tmp_path / "run")))
    assert line.begin_s == pytest.approx(-4)
    assert line.window_s == 20
    assert 20 < line.end_s < 25
    found = curves(line)
    inside = [(t, v) for t, v in found["Output", "client"] if 0 < t < 20]
    mean = sum(v for _, v in inside) / len(inside)
    assert mean == pytest.approx(3 * 20 / 0.2315, rel=0.05)
    assert dict(found["Requests", "client: in flight"])
    assert max(v for _, v in found["Requests", "client: in flight"]) == 3
    assert {v for _, v in found["Requests", "engine: waiting"]} == {1}
    assert {v for _, v in found["KV cache in use", "engine"]} == {25}
    assert found["Processors", "server"][3][1] == pytest.approx(0.5)
    assert found["Processors", "generator"][3][1] == pytest.approx(0.1)
    assert found["Processors", "stolen by the host"][3][1] == pytest.approx(0.02)
    assert {v for _, v in found["Memory of the server", "resident"]} == {50}
    for points in found.values():
        assert [t for t, _ in points] == sorted(t for t, _ in points)
        assert line.begin_s <= points[0][0] <= points[-1][0] <= line.end_s + 1


def test_what_was_not_sampled_has_no_row(tmp_path: Path) -> None:
    run = made_run.write_run(tmp_path / "run")
    assert not [row for row in drawn(cell(run)).rows if "GPU" in row.title]
    bare = made_run.write_cell(run, "vllm", "fp32", LOAD)
    found = drawn(bare)
    assert [row.title for row in found.rows] == ["Output", "Requests"]
    assert [curve.label for curve in found.rows[1].curves] == ["client: in flight"]


def test_gpus_have_rows_where_they_are(tmp_path: Path) -> None:
    one = {"gpu": 0, "utilization": 0.8, "used_bytes": 2e9, "power_w": 300.0, "sm_mhz": 1900}
    folder = cell(made_run.write_run(tmp_path / "run"), gpus=[one, one | {"power_w": None}])
    found = curves(drawn(folder))
    assert [v for _, v in found["GPU busy", "GPU 1"]][:2] == pytest.approx([80, 80])
    assert {v for _, v in found["GPU memory", "GPU 0"]} == {2}
    assert ("GPU power", "GPU 0") in found
    assert ("GPU power", "GPU 1") not in found


def test_a_cell_that_was_not_measured_has_no_figure(tmp_path: Path) -> None:
    run = made_run.write_run(tmp_path / "run")
    assert timeline(made_run.write_cell(run, "vllm", "fp32", LOAD, measured=False)) is None
    broken = made_run.write_cell(run, "vllm", "bf16", LOAD)
    (broken / "records.jsonl").write_text("{}\n")
    assert timeline(broken) is None
    assert timeline(run / "cells" / "nothing") is None


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=1500), st.integers(min_value=2, max_value=300)
)
def test_thinning_keeps_order_and_extremes(values: list[float], most: int) -> None:
    points = [(float(i), value) for i, value in enumerate(values)]
    kept = thinned(points, most)
    assert len(kept) <= max(most, 2)
    assert kept == sorted(kept, key=lambda point: point[0])
    assert set(kept) <= set(points)
    assert max(v for _, v in kept) == max(values)
    assert min(v for _, v in kept) == min(values)


@given(st.floats(1e-6, 1e9))
def test_an_axis_ends_at_a_round_number_not_far_above(value: float) -> None:
    assert value * 0.999 <= nice(value) <= 2.51 * value


def test_the_drawing_is_well_formed_in_the_pages_colours_and_names_its_cell(tmp_path: Path) -> None:
    from xml.etree import ElementTree as ET

    line = drawn(cell(made_run.write_run(tmp_path / "run")))
    svg = timeline_svg(line, name='vllm "<b>" u3')
    root = ET.fromstring(svg)
    assert 'vllm "<b>" u3' in root.attrib["aria-label"]
    texts = [element.text for element in root.iter("text")]
    assert {"Output (tok/s)", "warm-up", "engine: waiting", "KV cache in use (%)"} <= set(texts)
    assert "#" not in svg
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for curve in root.iter("polyline"):
        places = [tuple(map(float, pair.split(","))) for pair in curve.attrib["points"].split()]
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places)


def test_a_long_cell_is_thinned_and_a_page_of_twenty_stays_small(tmp_path: Path) -> None:
    one = {"gpu": 0, "utilization": 0.8, "used_bytes": 2e9, "power_w": 300.0, "sm_mhz": 1900}
    long = Load(users=3, ttft_ms=4_000, itl_ms=1_000, tokens=20, warmup_s=60, window_s=1_200)
    run = made_run.write_run(tmp_path / "run")
    line = drawn(cell(run, gpus=[one], load=long))
    assert all(90 < len(points) <= MOST_POINTS for points in curves(line).values())
    summary = summarise(run)
    (only,) = summary["cells"]
    names = [f"vllm-q{number}-u3" for number in range(20)]
    cells = [only | {"cell": name, "quant": name.split("-")[1]} for name in names]
    drawings = {name: timeline_svg(line, name=name) for name in names}
    page = as_page(summary | {"cells": cells}, drawings)
    assert len(re.findall('<svg class="timeline"', page)) == 20
    assert len(page.encode()) < MOST_PAGE_BYTES
