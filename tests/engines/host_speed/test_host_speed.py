"""The machine's figures: how they are taken, kept, found stale, and read. No real measuring."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantswarm.engines.hardware import Host
from quantswarm.engines.host_speed import board, child, measured
from quantswarm.engines.host_speed.child import Request
from quantswarm.engines.host_speed.figures import Bandwidth, HostSpeed, Rate, from_json

HOST = Host(
    cpu="Example 9000", isa=("avx2",), cores=(0, 1), core_groups=((0,), (1,)), memory_bytes=2**34
)
ANSWER = {
    "bandwidths": [{"size_bytes": 2**21, "gb_s": 50.0, "spread": 0.1, "by": "sum"}],
    "rates": [{"dtype": "float32", "gflops": 100.0, "spread": 0.0, "side": 512}],
    "torch": "9.9",
    "limits": {},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUANTSWARM_HOME", str(tmp_path))
    return tmp_path


class Asked:
    """Counts requests, and answers each the same."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> dict[str, Any]:
        self.requests.append(request)
        return self.answer


def ask_for(ask: Asked, **changed: Any) -> HostSpeed:
    given: dict[str, Any] = {"cores": (0,), "threads": 1, "ask": ask} | changed
    return measured.host_speed(changed.pop("host", HOST), **given)


def test_figures_are_kept_by_what_decides_them() -> None:
    ask = Asked(ANSWER)
    first = ask_for(ask)
    assert ask_for(ask) == first
    assert len(ask.requests) == 1
    ask_for(ask, cores=(0, 1), threads=2)
    assert ask.requests[-1].threads == 2
    measured.host_speed(dataclasses.replace(HOST, cpu="Other"), cores=(0,), threads=1, ask=ask)
    assert len(ask.requests) == 3
    assert first.bandwidth(1) == 50.0
    assert first.torch == "9.9"


def test_they_are_taken_again_when_asked_stale_or_unreadable(home: Path) -> None:
    ask = Asked(ANSWER)
    first = ask_for(ask)
    assert ask_for(ask, since=datetime.now(UTC)).measured_utc != first.measured_utc
    (kept,) = (home / "host-speed").iterdir()
    old = json.loads(kept.read_text())
    old["measured_utc"] = (datetime.now(UTC) - measured.FRESH - timedelta(days=1)).isoformat()
    kept.write_text(json.dumps(old))
    ask_for(ask)
    assert len(ask.requests) == 3
    kept.write_text("{")
    ask_for(ask)
    assert len(ask.requests) == 4
    assert [path.name for path in (home / "host-speed").iterdir()] == [kept.name]


def test_a_host_that_cannot_be_measured_says_why_and_keeps_nothing(home: Path) -> None:
    ask = Asked({"reason": "torch cannot be imported: No module named 'torch'"})
    found = ask_for(ask)
    assert "torch" in found.reason
    assert found.bandwidth(1e6) is None
    assert found.rate(16) is None
    assert not (home / "host-speed").exists()
    odd = ask_for(Asked({"bandwidths": 3}))
    assert "answered otherwise" in odd.reason


def test_a_child_that_fails_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    found = measured.in_child(request())
    assert "did not end well" in found["reason"]


def request(**changed: Any) -> Request:
    plain: dict[str, Any] = {
        "device": "cpu",
        "cores": (),
        "threads": 1,
        "sizes": (4096, 8192),
        "budget_s": 0.0,
    }
    return Request(**(plain | changed))


def test_buffers_leave_most_of_the_memory_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "available_memory_bytes", lambda: 200 * 2**20)
    ask = Asked(ANSWER)
    ask_for(ask)
    assert max(ask.requests[0].sizes) <= 50 * 2**20


@given(st.floats(1, 1e10), st.floats(1, 1e10))
def test_more_data_is_never_said_to_be_faster(one: float, other: float) -> None:
    noisy = [55.0, 27.0, 29.0, 9.0, 9.5]
    speed = HostSpeed(
        device="cpu",
        cores=(0,),
        threads=1,
        bandwidths=tuple(
            Bandwidth(size_bytes=2**21 * 4**i, gb_s=gb_s, spread=0.0, by="sum")
            for i, gb_s in enumerate(noisy)
        ),
    )
    small, large = sorted((one, other))
    assert (speed.bandwidth(small) or 0) >= (speed.bandwidth(large) or 0)
    assert speed.bandwidth(1) == 55.0
    assert speed.bandwidth(1e12) == 9.5


@pytest.mark.parametrize(("bits", "best"), [(32, 100.0), (16, 300.0), (8, 900.0), (4, 900.0)])
def test_narrow_numbers_may_be_multiplied_by_any_wider_product(bits: int, best: float) -> None:
    rates = {"float32": 100.0, "bfloat16": 300.0, "int8": 900.0}
    speed = HostSpeed(
        device="cpu",
        cores=(0,),
        threads=1,
        rates=tuple(Rate(dtype=d, gflops=g, spread=0.0, side=1) for d, g in rates.items()),
    )
    found = speed.rate(bits)
    assert found is not None
    assert found.gflops == best


def test_figures_survive_json() -> None:
    found = ask_for(Asked(ANSWER))
    assert from_json(json.loads(json.dumps(found.as_json()))) == found


class FakeTorch:
    """Enough of torch to be measured: operations take no time, a clock of the test's does."""

    __version__ = "0.0-fake"
    float32, bfloat16, float16, int8 = "float32", "bfloat16", "float16", "int8"
    float8_e4m3fn = "float8"

    def __init__(self, broken: tuple[str, ...] = (), free_bytes: int = 2**37) -> None:
        self.broken = broken
        self.waits = 0
        self.cuda = SimpleNamespace(
            synchronize=self._wait,
            is_available=lambda: True,
            mem_get_info=lambda: (free_bytes, 2**37),
        )

    def _wait(self) -> None:
        self.waits += 1

    @contextmanager
    def inference_mode(self) -> Iterator[None]:
        yield

    def ones(self, *shape: int, **_: Any) -> Any:
        made = SimpleNamespace(shape=shape, sum=lambda: None, kind="float32")
        made.view = lambda *_: made
        made.copy_ = lambda _: None
        made.t = lambda: made

        def to(kind: str) -> Any:
            made.kind = kind
            return made

        made.to = to
        return made

    def empty_like(self, other: Any) -> Any:
        return other

    def dot(self, *_: Any) -> None: ...

    def mv(self, *_: Any) -> None: ...

    def mm(self, a: Any, _: Any) -> None:
        if a.kind in self.broken:
            raise RuntimeError(f"no kernel for {a.kind}\nand more")

    def _int_mm(self, a: Any, b: Any) -> None:
        self.mm(a, b)

    def _scaled_mm(self, a: Any, b: Any, **more: Any) -> None:
        assert {"scale_a", "scale_b", "out_dtype"} == set(more)
        self.mm(a, b)


def test_the_child_counts_bytes_and_operations() -> None:
    ticks = itertools.count()
    found = child.figures(FakeTorch(), request(), clock=lambda: float(next(ticks)))
    assert [one["size_bytes"] for one in found["bandwidths"]] == [4096, 8192]
    assert found["bandwidths"][1]["gb_s"] == pytest.approx(8192 / 1e9)
    assert [one["dtype"] for one in found["rates"]] == ["float32", "bfloat16", "int8"]
    first = found["rates"][0]
    assert first["side"] == child.SIDES[0]  # each round takes a second: larger ones would be long
    assert first["gflops"] == pytest.approx(2 * child.SIDES[0] ** 3 / 1e9)
    assert first["spread"] == 0.0


def test_a_type_that_torch_does_not_multiply_is_left_out_with_the_reason() -> None:
    ticks = itertools.count()
    torch = FakeTorch(broken=("int8",))
    found = child.figures(torch, request(), clock=lambda: float(next(ticks)))
    assert [one["dtype"] for one in found["rates"]] == ["float32", "bfloat16"]
    assert found["limits"] == {"int8": "not multiplied by this torch: no kernel for int8"}


def test_on_a_gpu_every_round_waits_and_a_copy_counts_twice() -> None:
    ticks = itertools.count()
    torch = FakeTorch()
    found = child.figures(
        torch, request(device="cuda", sizes=(4096,)), clock=lambda: float(next(ticks))
    )
    assert found["bandwidths"][0] | {"spread": 0} == {
        "size_bytes": 4096,
        "gb_s": 2 * 4096 / 1e9,
        "spread": 0,
        "by": "copy",
        "moved_bytes": 2 * 4096,
        "rounds": 3,
    }
    kinds = [one["dtype"] for one in found["rates"]]
    assert kinds == ["float32", "bfloat16", "float16", "float8", "int8"]
    assert {one["rounds"] for one in found["rates"]} == {3}
    assert torch.waits >= 4 * 4


def test_buffers_fit_into_the_gpus_free_memory() -> None:
    ticks = itertools.count()
    torch = FakeTorch(free_bytes=8192 * child.GPU_SHARE)
    found = child.figures(
        torch, request(device="cuda", sizes=(4096, 8192, 16384)), lambda: float(next(ticks))
    )
    assert [one["size_bytes"] for one in found["bandwidths"]] == [4096, 8192]
    torch = FakeTorch(free_bytes=0)
    found = child.figures(
        torch, request(device="cuda", sizes=(4096, 8192)), lambda: float(next(ticks))
    )
    assert [one["size_bytes"] for one in found["bandwidths"]] == [4096]


def test_figures_from_before_rounds_were_told_are_still_read() -> None:
    old = Bandwidth(size_bytes=1, gb_s=1.0, spread=0.0, by="sum")
    kept = HostSpeed(device="cpu", cores=(0,), threads=1, bandwidths=(old,)).as_json()
    told = json.loads(json.dumps(kept))
    told["bandwidths"] = [{"size_bytes": 1, "gb_s": 1.0, "spread": 0.0, "by": "sum"}]
    assert from_json(told).bandwidths == (old,)


def test_rounds_go_on_until_the_budget_is_spent() -> None:
    ticks = itertools.count()
    assert len(child.rounds(lambda: None, 10.0, lambda: float(next(ticks)))) == 10
    assert len(child.rounds(lambda: None, 0.0, lambda: float(next(ticks)))) == 3


class Nvml:
    """NVML as an H100's driver answers; `refused` functions are not supported."""

    NVML_CLOCK_MEM = 2

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.opened = 0

    def _or_refuse(self, name: str, value: Any) -> Any:
        if name == self.refused:
            raise self.NVMLError("Not Supported")
        return value

    def nvmlInit(self) -> None:  # noqa: N802 - the names are NVML's
        self._or_refuse("init", None)
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMaxClockInfo(self, _handle: int, kind: int) -> int:  # noqa: N802
        assert kind == self.NVML_CLOCK_MEM
        return int(self._or_refuse("clock", 2619))

    def nvmlDeviceGetMemoryBusWidth(self, _handle: int) -> int:  # noqa: N802
        return int(self._or_refuse("width", 5120))


def test_a_boards_bandwidth_is_clock_times_width() -> None:
    nvml = Nvml()
    assert board.board_gb_s(load=lambda: nvml) == pytest.approx(3352.3, abs=0.1)
    assert nvml.opened == 0


@pytest.mark.parametrize("refused", ["init", "clock", "width"])
def test_a_driver_that_does_not_tell_gives_nothing(refused: str) -> None:
    nvml = Nvml(refused)
    assert board.board_gb_s(load=lambda: nvml) is None
    assert nvml.opened == 0


def test_without_the_library_there_is_nothing() -> None:
    def missing() -> Any:
        raise ImportError("pynvml")

    assert board.board_gb_s(load=missing) is None


@pytest.mark.engines
def test_this_machine_is_measured_in_a_child() -> None:
    """Real torch, tiny buffers: figures come back, and they are no nonsense."""
    found = measured.in_child(request(sizes=(2**20,), budget_s=0.01))
    assert found.get("reason") is None
    assert 0.1 < found["bandwidths"][0]["gb_s"] < 10_000
    assert {"float32", "bfloat16"} <= {one["dtype"] for one in found["rates"]}
    assert all(0 <= one["spread"] < 1 for one in found["rates"])
