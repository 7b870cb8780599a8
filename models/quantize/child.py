"""The quantizing process seen from its parent: its words into a log, its progress to the user."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from quantswarm.models.errors import BuildFailed

DRIVER = ("-I", "-u", str(Path(__file__).with_name("driver.py")))
"""What Python is given to quantize with the libraries of an environment of their own."""
QUIET_S = 15.0
"""At most one line in this time, unless a new layer began; at least one, however silent it is."""

_TAIL_LINES = 15
_LAYER = re.compile(r"\blayers\.(\d+)\b")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def quantize(
    python: Path,
    plan: Mapping[str, Any],
    work: Path,
    *,
    log: Path,
    asked: str,
    layers: int,
    driver: Sequence[str] = DRIVER,
) -> dict[str, Any]:
    """Run the driver; its result, which holds the libraries' `versions`. `BuildFailed` with the
    log's end, and the log stays; on success it is removed. Whatever interrupts this ends it too."""
    written = work / "plan.json"
    written.write_text(json.dumps({**plan, "parent": os.getpid()}), encoding="utf-8")
    log.parent.mkdir(parents=True, exist_ok=True)
    told = Telling(asked, layers, say=_say)
    with log.open("w", encoding="utf-8") as sink:
        process = _start([str(python), *driver, str(written)], work)
        try:
            for line in lines(process):
                if line:
                    sink.write(line + "\n")
                told.heard(line)
            process.wait()
        finally:
            _end(process)
    result = work / "result.json"
    if process.returncode or not result.is_file():
        raise BuildFailed(
            asked,
            _ended(process.returncode),
            evidence=f"The end of {log}:\n{_tail(log)}",
            next_step="mend the cause and ask again; nothing half-made was kept",
        )
    log.unlink()
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


class Telling:
    """What the user hears: each layer once, and a sign of life in long silences."""

    def __init__(
        self,
        asked: str,
        layers: int,
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asked, self._layers, self._say, self._clock = asked, layers, say, clock
        self._began = self._said_at = clock()
        self._layer = -1
        self._told = -1
        say(f"{asked}: started")

    def heard(self, line: str) -> None:
        """One line of the libraries, or an empty one when nothing came for a second."""
        for found in _LAYER.findall(line):
            number = int(found)
            # One at a time: a list of all the layers is no progress.
            if number == self._layer + 1 and number < self._layers:
                self._layer = number
        now = self._clock()
        if now - self._said_at >= QUIET_S:
            self._said_at = now
            gone = int(now - self._began)
            layer = f"layer {self._layer + 1} of {self._layers}, " if self._layer >= 0 else ""
            self._say(f"{self._asked}: {layer}{gone // 60}:{gone % 60:02d} gone")


def lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Lines as they come, progress bars (which end in a carriage return) too; "" once a second."""
    assert process.stdout is not None
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest = ""
    for chunk in _chunks(process.stdout):
        *whole, rest = re.split(r"[\r\n]+", rest + decode(chunk))
        yield from (stripped for line in whole if (stripped := _COLOURS.sub("", line).strip()))
        if not chunk:
            yield ""
    if rest.strip():
        yield rest.strip()


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        readable, _, _ = select.select([stream], [], [], 1.0)
        if not readable:
            yield b""
            continue
        chunk = os.read(stream.fileno(), 65536)
        if not chunk:
            return
        yield chunk


def _start(argv: list[str], work: Path) -> subprocess.Popen[bytes]:
    threads = str(len(os.sched_getaffinity(0)))
    scratch = work / "scratch"
    scratch.mkdir()
    env = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": threads,
        # Threads that wait sleep: on a busy machine spinning ones take the time of those at work.
        "OMP_WAIT_POLICY": "PASSIVE",
        # On two cores GPTQModel asks its pool of one for two workers, and dies; so it is given two.
        "GPTQMODEL_CPU_WORKERS": "2",
        # What the libraries keep beside, layers put out to disk for one, goes when `work` goes.
        "TMPDIR": str(scratch),
    }
    if os.environ.get("QUANTSWARM_DEVICE") == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    return subprocess.Popen(
        argv,
        env=env,
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches us alone, and we end the whole group
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its files are not worth a gentle end: the folder it writes to is thrown away."""
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _ended(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the quantizing process was killed, by the kernel for want of memory most likely"
    return f"the quantizing process ended with status {status}"


def _tail(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in text[-_TAIL_LINES:])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
