"""The loop reads sockets by itself: every segment, the end, and whatever goes wrong."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import gevent
import pytest

from quantswarm.bench.load.loop import pour

TIMEOUT_S = 10


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(ours, the server's), connected by TCP; ours does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname())
        theirs, _ = listening.accept()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


class Basket:
    """A `Take` that wants segments until one ends in a full stop."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.segments: list[bytes] = []
        self.stamps: list[int] = []
        self._then = then

    def take(self, data: bytes, now_ns: int) -> bool:
        self.segments.append(data)
        self.stamps.append(now_ns)
        self._then()
        return data.endswith(b".")


def test_every_segment_until_no_more_is_wanted(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    said = iter([b"two", b"three."])
    basket = Basket(lambda: theirs.sendall(next(said, b"the next answer")))
    theirs.sendall(b"one")
    assert gevent.spawn(pour, ours, basket.take).get(timeout=TIMEOUT_S) is True
    assert basket.segments == [b"one", b"two", b"three."]
    assert basket.stamps == sorted(basket.stamps)
    later = Basket()
    theirs.sendall(b".")
    assert gevent.spawn(pour, ours, later.take).get(timeout=TIMEOUT_S) is True
    assert b"".join(later.segments) == b"the next answer."


def test_the_peers_end(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    basket = Basket()
    theirs.sendall(b"half an ans")
    theirs.close()
    assert gevent.spawn(pour, ours, basket.take).get(timeout=TIMEOUT_S) is False
    assert basket.segments == [b"half an ans"]


def test_a_reset_is_an_error_of_the_system(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = gevent.spawn(pour, ours, Basket().take)
    gevent.sleep(0)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    with pytest.raises(ConnectionResetError):
        reader.get(timeout=TIMEOUT_S)


def test_a_fault_of_the_taker_is_the_callers(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair

    def full() -> None:
        raise MemoryError("full")

    theirs.sendall(b"one")
    with pytest.raises(MemoryError, match="full"):
        gevent.spawn(pour, ours, Basket(full).take).get(timeout=TIMEOUT_S)


def test_whoever_is_killed_meanwhile_leaves_the_socket_alone(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    cut, next_one = Basket(), Basket()
    reader = gevent.spawn(pour, ours, cut.take)
    gevent.sleep(0)
    reader.kill(timeout=TIMEOUT_S)
    theirs.sendall(b"for the next.")
    assert gevent.spawn(pour, ours, next_one.take).get(timeout=TIMEOUT_S) is True
    assert (cut.segments, next_one.segments) == ([], [b"for the next."])


def test_nobody_goes_on_before_all_that_has_come_is_stamped() -> None:
    """One stream's end, filed and asked anew, must not delay the stamps of the others."""
    course: list[str] = []
    pairs = [socket.socketpair() for _ in range(8)]
    for ours, _ in pairs:
        ours.setblocking(False)

    def user(number: int, ours: socket.socket) -> None:
        pour(ours, Basket(lambda: course.append(f"stamp {number}")).take)
        course.append(f"on {number}")

    users = [gevent.spawn(user, number, ours) for number, (ours, _) in enumerate(pairs)]
    gevent.sleep(0)
    for _, theirs in pairs:
        theirs.sendall(b"all.")
    gevent.joinall(users, timeout=TIMEOUT_S, raise_error=True)
    assert sorted(course[:8]) == [f"stamp {number}" for number in range(8)]
    assert sorted(course[8:]) == [f"on {number}" for number in range(8)]
    for ours, theirs in pairs:
        ours.close()
        theirs.close()
