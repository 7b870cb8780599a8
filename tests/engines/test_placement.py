"""Cores and threads: the same for every engine, never shared in silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.placement import parse_cores, plan
from quantswarm.models.errors import UserMistake


def alone(count):
    return tuple((core,) for core in range(count))


def test_two_cores_are_divided():
    placed = plan(alone(2))
    assert (placed.threads, placed.server_cores, placed.client_cores) == (1, (0,), (1,))
    assert placed.process_cores == (0, 1)
    assert "front end shares" in placed.reasons["cores"]
    assert "shared" not in placed.reasons


def test_one_core_is_shared_and_says_so():
    placed = plan(alone(1))
    assert placed.server_cores == placed.client_cores == (0,)
    assert "expect slower" in placed.reasons["shared"]


@pytest.mark.parametrize(("count", "compute", "client"), [(4, 2, 1), (8, 6, 1), (16, 13, 2)])
def test_more_cores(count, compute, client):
    placed = plan(alone(count))
    assert placed.threads == len(placed.server_cores) == compute
    assert len(placed.client_cores) == client
    assert not set(placed.client_cores) & set(placed.process_cores)


def test_siblings_of_a_physical_core_do_not_both_compute():
    placed = plan(((0, 4), (1, 5), (2, 6), (3, 7)))
    assert placed.server_cores == (0, 1)
    assert placed.client_cores == (3, 7)


def test_the_user_decides():
    placed = plan(alone(8), server_cores=(2, 3), client_cores=(0,))
    assert (placed.threads, placed.server_cores, placed.client_cores) == (2, (2, 3), (0,))
    assert placed.reasons["cores"] == "given by the user"
    more = plan(alone(2), threads=2)
    assert more.server_cores == (0, 1)
    assert "core 1 computes and generates load" in more.reasons["shared"]
    fewer = plan(alone(8), threads=2)
    assert fewer.server_cores == (0, 1)
    crowded = plan(alone(8), threads=4, server_cores=(0, 1))
    assert "4 threads on 2 cores" in crowded.reasons["shared"]


def test_cores_of_others_are_refused():
    with pytest.raises(UserMistake, match="may not use 5"):
        plan(alone(2), server_cores=(0, 5))
    with pytest.raises(UserMistake, match="at least 1"):
        plan(alone(2), threads=0)


def test_core_lists():
    assert parse_cores("0,2-4,2") == (0, 2, 3, 4)
    for wrong in ("", "a", "1,", "3-1"):
        with pytest.raises(UserMistake):
            parse_cores(wrong)


@given(st.integers(1, 64), st.integers(1, 4), st.none() | st.integers(1, 80))
def test_any_machine(physical, siblings, threads):
    groups = [tuple(range(n * siblings, (n + 1) * siblings)) for n in range(physical)]
    usable = {core for group in groups for core in group}
    placed = plan(groups, threads=threads)
    assert placed.threads >= 1
    assert placed.server_cores
    assert placed.client_cores
    assert set(placed.server_cores) <= set(placed.process_cores) <= usable
    assert set(placed.client_cores) <= usable
    if set(placed.server_cores) & set(placed.client_cores):
        assert "shared" in placed.reasons
