"""A running server: started, proved to answer, watched, and stopped whatever happens."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from quantswarm.engines.base import Availability, Command, Engine, ServeSpec
from quantswarm.engines.diagnosis import death
from quantswarm.engines.held_memory import HeldMemory, held_memory
from quantswarm.engines.placement import parse_cores
from quantswarm.engines.prepare import Prepared, documents
from quantswarm.engines.process import ServerProcess
from quantswarm.engines.readiness import OnWait, Target, check_port, wait_ready
from quantswarm.models.artefact import Artefact
from quantswarm.models.errors import BadFile, NotAvailable

WATCH_S = 0.2


class Server:
    """A server that has answered. From its start it took `first_ready_s` until its health said so,
    and `load_s` until its first token; `after_load` is the memory that it held then."""

    def __init__(
        self,
        process: ServerProcess,
        command: Command,
        target: Target,
        *,
        first_ready_s: float,
        load_s: float,
        after_load: HeldMemory,
    ) -> None:
        self._process = process
        self.command = command
        self.served_name = target.served_name
        self.root_url = f"http://{_in_url(target.connect_host)}:{target.port}"
        self.base_url = f"{self.root_url}/v1"
        self.first_ready_s = first_ready_s
        self.load_s = load_s
        self.after_load = after_load
        self.pid = process.pid
        self.log = process.log

    def alive(self) -> bool:
        """Whether the server's own process still runs."""
        return self._process.alive()

    def tail(self, n: int = 20) -> str:
        """The last `n` lines of its log."""
        return self._process.tail(n)

    def tree(self) -> tuple[int, ...]:
        """Every live pid of the server, helpers and orphans included."""
        return self._process.tree()

    def raise_if_dead(self) -> None:
        """`ServerDied` (or `NoSpace`) with the log's last lines when it has ended by itself."""
        if not self.alive():
            raise death(
                f"server for {self.served_name}",
                self._process.tail(400),
                self.tail(),
                self._process.exit_code(),
            )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextmanager
def running(
    engine: Engine,
    artefact: Artefact | None,
    spec: ServeSpec,
    flags: tuple[str, ...],
    *,
    log: Path,
    timeout_s: float | None = None,
    on_wait: OnWait | None = None,
    found: Availability | None = None,
) -> Iterator[Server]:
    """Start the server, yield it once it has generated a token, stop its whole tree at the end.

    `timeout_s` bounds the start (default: the engine's own). `found` is what a probe just said.
    The tree also ends when this process is killed. Raises `NotAvailable`, `BadFile`, `PortInUse`,
    `ServerDied`, `ServerNotReady`, `NoSpace`.
    """
    available = found or engine.probe()
    if not available.available:
        raise NotAvailable(
            f"engine {engine.name}", available.reason, next_step=available.cure or "make doctor"
        )
    if artefact is not None and not artefact.path.exists():
        raise BadFile(
            f"serve {artefact.path}", "no such file or folder", next_step="check the path"
        )
    check_port(spec.host, spec.port)
    engine.make_ready(spec)
    command = engine.command(artefact, spec, flags)
    target = Target(
        host=spec.host,
        port=spec.port,
        health_path=engine.health_path,
        served_name=spec.served_name,
        api_key_file=spec.api_key_file,
    )
    given = spec.options.get("process_cores", "")
    started = time.monotonic()
    process = ServerProcess(
        command.argv, log=log, env=command.env, cores=parse_cores(given) if given else ()
    )
    try:
        healthy = wait_ready(process, target, timeout_s or engine.start_timeout_s, on_wait)
        answered = time.monotonic()
        server = Server(
            process,
            command,
            target,
            first_ready_s=healthy - started,
            load_s=answered - started,
            after_load=held_memory(process.tree()),
        )
        process.note_libraries()
        if engine.main_thread_computes and spec.threads == 1 and spec.cores:
            with suppress(OSError):
                os.sched_setaffinity(process.pid, spec.cores)  # of that pid's main thread only
        yield server
    finally:
        process.stop()


def snippet(server: Server, api_key_file: Path | None = None) -> str:
    """A few lines of Python that talk to the server through the `openai` package."""
    key = f"open({str(api_key_file)!r}).readline().strip()" if api_key_file else '"none"'
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{server.base_url}", api_key={key})\n'
        f'answer = client.completions.create(model="{server.served_name}", '
        'prompt="def main():", max_tokens=64)\n'
        "print(answer.choices[0].text)\n"
    )


def remarks(
    engine: Engine, quant: str | None, spec: ServeSpec, server: Server
) -> list[Mapping[str, str]]:
    """What the log of a server that answers shows to be other than announced; as `warnings`."""
    if not server.log.is_file():
        return []
    log = server.log.read_text(encoding="utf-8", errors="replace")
    return documents(engine.remarks(quant, spec, log))


def _warn(warnings: Iterable[Mapping[str, str]]) -> None:
    for warning in warnings:
        print(
            f"warning ({warning['name']}): {warning['seen']}: {warning['cause']}. "
            f"{warning['advice']}",
            file=sys.stderr,
        )


def serve_in_foreground(
    engine: Engine,
    artefact: Artefact | None,
    prepared: Prepared,
    *,
    log: Path,
    timeout_s: float | None = None,
    out: TextIO | None = None,
) -> None:
    """Serve until Ctrl-C (`KeyboardInterrupt` passes on, after the stop) or the server's death.

    Prints to `out` (stdout) the base URL, the model id and a snippet; progress goes to stderr.
    """
    sink = out or sys.stdout
    _warn(prepared.warnings)
    with running(
        engine,
        artefact,
        prepared.spec,
        prepared.flags,
        log=log,
        timeout_s=timeout_s,
        on_wait=progress,
    ) as server:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        quant = artefact.quant if artefact is not None else None
        _warn(remarks(engine, quant, prepared.spec, server))
        print(f"base URL  {server.base_url}", file=sink)
        print(f"model     {server.served_name}", file=sink)
        print(f"ready in  {server.load_s:.1f} s; log: {server.log}", file=sink)
        print(f"\n{snippet(server, prepared.spec.api_key_file)}\nCtrl-C stops it.", file=sink)
        sink.flush()
        while True:
            server.raise_if_dead()
            time.sleep(WATCH_S)


def progress(elapsed_s: float, last_line: str) -> None:
    """Show the wait on stderr: one changing line on a terminal, else a line in ten seconds."""
    if sys.stderr.isatty():
        print(f"\r\033[Kstarting, {elapsed_s:.0f} s: {last_line[:90]}", end="", file=sys.stderr)
    elif int(elapsed_s) % 10 == 0:
        print(f"starting, {elapsed_s:.0f} s: {last_line[:200]}", file=sys.stderr)
