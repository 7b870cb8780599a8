"""The swarm's event loop: exact alarms, a look at its turns, sockets read without waking anybody,
work beside the users and in threads.

Only what gevent gives; Locust is not imported here. Its replacing of sockets is in `swarm_user`.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from gevent import get_hub, signal_handler, spawn
from gevent.hub import Waiter

from quantswarm.bench.load.capture import RECV_BYTES, Take
from quantswarm.engines.timerfd import TimerFd

_READABLE = 1


class Alarm:
    """Wakes one greenlet at exact instants; the loop's own timers are good to a millisecond."""

    def __init__(self) -> None:
        self._timer = TimerFd()
        self._watcher: Any = get_hub().loop.io(self._timer.fileno(), _READABLE)

    def sleep_until(self, due_ns: int) -> None:
        """Never early; gives way to others at least once, however late it is."""
        self._timer.set(due_ns)
        get_hub().wait(self._watcher)

    def close(self) -> None:
        """No greenlet may be asleep in it."""
        self._watcher.close()
        self._timer.close()


def pour(source: socket.socket, take: Take) -> bool:
    """A `Pour` for plain sockets: the loop itself reads, and the caller sleeps until the end.

    To wake it for every segment would cost two switches and a read that finds nothing: more than
    all the rest. It is woken once the other sockets that have something were read too, so that what
    it then does delays no stamp of theirs.
    """
    loop = get_hub().loop
    descriptor = source.fileno()
    readable: Any = loop.io(descriptor, _READABLE)
    end: Any = Waiter()

    def read() -> None:
        try:
            data = os.read(descriptor, RECV_BYTES)
            if data and not take(data, perf_counter_ns()):
                return
        except BlockingIOError:
            return
        except BaseException as error:  # the caller's, whatever it is
            readable.stop()
            loop.run_callback(end.throw, error)
        else:
            readable.stop()
            loop.run_callback(end.switch, bool(data))

    readable.start(read)
    try:
        return bool(end.get())
    finally:
        readable.stop()
        readable.close()


def watch_poll(sleeps: Callable[[], object], wakes: Callable[[], object]) -> Callable[[], None]:
    """Call `sleeps` last before the loop waits for events and `wakes` first after it, until the
    function that is returned is called."""
    loop = get_hub().loop
    before: Any = loop.prepare(ref=False, priority=loop.MINPRI)
    after: Any = loop.check(ref=False, priority=loop.MAXPRI)
    before.start(sleeps)
    after.start(wakes)

    def stop() -> None:
        for watcher in (before, after):
            watcher.stop()
            watcher.close()

    return stop


def beside(work: Callable[[], object]) -> Any:
    """Run in the loop, next to the users; `work` must sleep or wait often."""
    return spawn(work)


def in_thread(work: Callable[[], object]) -> object:
    """Run in a real thread while the loop goes on; returns when done."""
    return get_hub().threadpool.apply(work)


def on_stop_signal(act: Callable[[], object]) -> None:
    """Call `act` in the loop on Ctrl-C or a polite kill."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal_handler(number, act)
