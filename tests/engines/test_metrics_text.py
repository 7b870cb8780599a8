"""The reader of Prometheus's text, against made-up text, real text and the format's own library."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.metrics_text import picked, samples

SNAPSHOTS = sorted((Path(__file__).parent / "snapshots").glob("*.txt"))
NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True)
KEYS = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
VALUES = st.floats(allow_nan=False)


def written(name: str, labels: dict[str, str], value: float, stamp: int | None) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

    inner = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
    number = {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, repr(value))
    return f"{name}{{{inner}}} {number}" + (f" {stamp}" if stamp is not None else "")


@given(NAMES, st.dictionaries(KEYS, TEXTS, max_size=3), VALUES, st.none() | st.integers())
def test_what_was_written_is_read(name, labels, value, stamp):
    (found,) = samples(f"# HELP {name} x\n\n{written(name, labels, value, stamp)}\n")
    assert (found.name, dict(found.labels), found.value) == (name, labels, value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text):
    with suppress(ValueError):
        assert all(sample.name for sample in samples(text))


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_real_text_is_read_as_prometheus_reads_it(path):
    library = pytest.importorskip("prometheus_client.parser")
    text = path.read_text(encoding="utf-8")
    families = library.text_string_to_metric_families(text)
    theirs = {comparable(sample) for family in families for sample in family.samples}
    assert {comparable(sample) for sample in samples(text)} == theirs


def comparable(sample):
    """The library adds `_total` to the name of a counter that lacks it."""
    return sample.name.removesuffix("_total"), frozenset(sample.labels.items()), sample.value


TWO_ENGINES = """# TYPE run gauge
run{engine="0"} 2
run{engine="1"} 3
full{engine="0"} 0.25
full{engine="1"} 0.5
other{broken
run_total 99
wait_seconds_bucket{engine="0",le="0.1"} 1
wait_seconds_bucket{le="+Inf",engine="0"} 4
wait_seconds_sum{engine="0"} 2.5
wait_seconds_count{engine="0"} 4
nothing NaN
"""
GAUGES = {
    "running": "run",
    "kv_cache_use": "full",
    "ttft": "wait_seconds",
    "waiting": "not_there",
    "preemptions": "nothing",
}


def test_numbers_are_picked_by_our_names_and_summed_but_for_shares():
    assert picked(TWO_ENGINES, GAUGES) == {
        "running": 5.0,
        "kv_cache_use": 0.5,
        "ttft": {"sum": 2.5, "count": 4.0, "buckets": [[0.1, 1.0], [None, 4.0]]},
    }


@pytest.mark.parametrize("line", ["run", "run{a=b} 1", 'run{a="b} 1', "run one", 'run{a="b" 1'])
def test_a_bad_line_of_a_wanted_metric_is_refused(line):
    with pytest.raises(ValueError):  # noqa: PT011 - the reader has one error, and float its own
        picked(line, {"running": "run"})
