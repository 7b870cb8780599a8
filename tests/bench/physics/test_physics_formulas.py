"""The formulas: by hand on round numbers, and what must hold for any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.bench.load.lengths import length_from
from quantswarm.bench.load.scenario import Scenario, scenarios
from quantswarm.bench.physics.expected import expected, mean
from quantswarm.bench.physics.formulas import (
    ARITHMETIC,
    MEMORY,
    Speed,
    Work,
    decode_bytes,
    decode_floor_s,
    decode_operations,
    decode_tok_s,
    prefill_floor_s,
    prefill_operations,
    prefill_tok_s,
)

WORK = Work(weights_bytes=100e6, kv_bytes=1000, weights=50e6, head_weights=5e6, attention_width=256)
SPEED = Speed(bandwidth_gb_s=10, gflops=1000)

sizes = st.floats(1, 1e12, allow_nan=False)
works = st.builds(
    Work,
    weights_bytes=sizes,
    kv_bytes=st.floats(0, 1e6),
    weights=sizes,
    head_weights=st.just(0.0),
    attention_width=st.floats(0, 1e6),
)
speeds = st.builds(Speed, bandwidth_gb_s=st.floats(0.1, 1e5), gflops=st.floats(0.1, 1e7))
streams = st.floats(1, 1024)
tokens = st.floats(1, 1e5)


def test_one_stream_reads_the_weights_and_its_cache() -> None:
    assert decode_bytes(WORK, 1, 200) == 100e6 + 200 * 1000
    assert decode_operations(WORK, 1, 200) == 2 * 50e6 + 4 * 256 * 200
    floor_s, by = decode_floor_s(WORK, SPEED, 1, 200)
    assert floor_s == pytest.approx(0.01002)
    assert by == MEMORY
    assert decode_tok_s(WORK, SPEED, 1, 200) == pytest.approx(1 / 0.01002)


def test_many_streams_share_the_reading_until_products_take_longer() -> None:
    slow = Speed(bandwidth_gb_s=10, gflops=50)
    floor_s, by = decode_floor_s(WORK, slow, 8, 0)
    assert floor_s == pytest.approx(8 * 100e6 / 50e9)
    assert by == ARITHMETIC


def test_a_prompt_uses_the_head_once_and_each_token_sees_those_before() -> None:
    attention = sum(4 * 256 * i for i in range(1, 65))
    assert prefill_operations(WORK, 64) == 2 * 45e6 * 64 + 2 * 5e6 + attention
    assert prefill_floor_s(WORK, Speed(bandwidth_gb_s=1e9, gflops=1), 64)[1] == ARITHMETIC
    assert prefill_tok_s(WORK, SPEED, 1) == pytest.approx(100)


@given(works, speeds, streams, tokens)
def test_more_streams_never_take_less_time_nor_give_fewer_tokens(
    work: Work, speed: Speed, n: float, context: float
) -> None:
    assert decode_floor_s(work, speed, 2 * n, context)[0] >= decode_floor_s(
        work, speed, n, context
    )[0] * (1 - 1e-9)
    more, fewer = (decode_tok_s(work, speed, k * n, context) for k in (2, 1))
    assert more >= fewer * (1 - 1e-9)


@given(works, speeds, streams, tokens, st.floats(1, 100))
def test_a_faster_machine_is_never_slower(
    work: Work, speed: Speed, n: float, context: float, times: float
) -> None:
    faster = Speed(bandwidth_gb_s=times * speed.bandwidth_gb_s, gflops=times * speed.gflops)
    one, other = (decode_tok_s(work, s, n, context) for s in (faster, speed))
    assert one == pytest.approx(times * other)


@given(works, speeds, tokens)
def test_a_prompt_takes_at_least_as_long_as_reading_the_weights(
    work: Work, speed: Speed, prompt: float
) -> None:
    reading = work.weights_bytes / (speed.bandwidth_gb_s * 1e9)
    assert prefill_floor_s(work, speed, prompt)[0] >= reading


def test_expected_lengths_of_plain_and_drawn_scenarios() -> None:
    plain = expected(Scenario(name="x", api="completions", prompt_tokens=100, output_tokens=40))
    assert plain is not None
    assert (plain.prompt_tokens, plain.output_tokens, plain.context_tokens) == (100, 40, 120)
    drawn = length_from({"dist": "uniform", "min": 10, "max": 30}, 1)
    assert mean(drawn) == pytest.approx(20, abs=0.1)


def test_later_turns_hold_the_conversation() -> None:
    found = expected(
        Scenario(
            name="x",
            api="chat",
            prompt_tokens=100,
            output_tokens=40,
            shared_prefix_tokens=60,
            turns=3,
        )
    )
    assert found is not None
    assert found.prompt_tokens == 100 + (40 + 40)  # the second of three turns is the mean one


def test_a_mix_is_weighted_and_a_data_set_is_not_known() -> None:
    short = Scenario(name="s", api="chat", prompt_tokens=10, output_tokens=10)
    long = Scenario(name="l", api="chat", prompt_tokens=110, output_tokens=50)
    found = expected(Scenario(name="m", api="mix", mix=((3.0, short), (1.0, long))))
    assert found is not None
    assert (found.prompt_tokens, found.output_tokens) == (35, 20)
    assert expected(Scenario(name="d", api="chat", data="/some/file")) is None


def test_every_shipped_scenario_has_lengths() -> None:
    assert all(expected(scenario) is not None for scenario in scenarios().values())
