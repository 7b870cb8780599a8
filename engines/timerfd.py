"""Linux's timerfd: a timer that any event loop can watch, good to some microseconds.

The waiting calls under event loops count in milliseconds and round up. Both ends of a measurement
need better: the server of known latency and the load generator that dispatches a schedule.
"""

from __future__ import annotations

import ctypes
import os

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC


class TimerFd:
    """Readable from the instant last set on, by the clock of `time.perf_counter_ns`.

    Raises `OSError` or `AttributeError` where the system has none.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._settime.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._spec = (ctypes.c_long * 4)()
        self._pointer = ctypes.addressof(self._spec)
        self._fd = int(libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS))
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._fd

    def set(self, due_ns: int | None) -> None:
        """Replace the instant; None: never, a past one: at once. No longer readable until then."""
        spec = self._spec
        spec[2], spec[3] = (0, 0) if due_ns is None else divmod(max(1, due_ns), 1_000_000_000)
        self._settime(self._fd, _ABSOLUTE, self._pointer, None)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
