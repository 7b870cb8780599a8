"""Does the server truly answer? Health, then the model list, then one token: in that order."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.engines.diagnosis import death
from quantswarm.engines.process import ServerProcess, key_in
from quantswarm.models.errors import PortInUse, ServerNotReady

POLL_S = 0.1
PROBE_TIMEOUT_S = 5.0

OnWait = Callable[[float, str], None]
"""Called about once a second with the seconds waited and the log's last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to ask, and as whom."""

    host: str
    port: int
    health_path: str
    served_name: str
    api_key_file: Path | None = None

    @property
    def connect_host(self) -> str:
        """An address to connect to: a wildcard to listen on is none."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)


def check_port(host: str, port: int) -> None:
    """`PortInUse`, naming who listens where the system tells it, unless the port is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"listen on {host}:{port}",
                f"not possible ({error.strerror})",
                evidence=_listener(port),
                next_step="choose another --port (or --host), or stop what listens there",
            ) from None


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def _listener(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port:
                if connection.pid is None:
                    return "A process of another user listens there."
                name = psutil.Process(connection.pid).name()
                return f"Process {connection.pid} ({name}) listens there."
    except (psutil.Error, OSError):
        return ""
    return ""


def wait_ready(
    process: ServerProcess, target: Target, timeout_s: float, on_wait: OnWait | None = None
) -> float:
    """Return once the server has generated a token: when it first said that it is healthy, on the
    clock of `time.monotonic`, to a tenth of a second.

    Raises at once when it dies (`ServerDied` or `NoSpace`, with the log's end) or refuses for good
    (`ServerNotReady`), and `ServerNotReady` after `timeout_s`.
    """
    started = time.monotonic()
    told = 0.0
    seen = "nothing yet"
    stages = [_healthy, _listed, _generates]
    healthy = started
    while stages:
        waited = time.monotonic() - started
        if not process.alive():
            raise death(_what(target), process.tail(400), process.tail(), process.exit_code())
        if waited > timeout_s:
            raise _not_ready(target, f"no answer within {timeout_s:.0f} s ({seen})", process)
        remaining = max(PROBE_TIMEOUT_S, timeout_s - waited)
        done, seen = stages[0](target, min(remaining, timeout_s - waited + 1.0), process)
        if done:
            if stages.pop(0) is _healthy:
                healthy = time.monotonic()
            continue
        if on_wait is not None and waited - told >= 1.0:
            told = waited
            on_wait(waited, process.tail(1))
        time.sleep(POLL_S)
    return healthy


def _what(target: Target) -> str:
    return f"server for {target.served_name}"


def _not_ready(target: Target, found: str, process: ServerProcess) -> ServerNotReady:
    return ServerNotReady(
        _what(target),
        found,
        evidence=f"Last lines of its log:\n{process.tail()}",
        next_step="a longer --start-timeout, or read the whole log",
    )


def _healthy(target: Target, timeout_s: float, _process: ServerProcess) -> tuple[bool, str]:
    status, body = ask(target, "GET", target.health_path, timeout_s=min(timeout_s, PROBE_TIMEOUT_S))
    return status == 200, f"{target.health_path} answered {status or body}"


def _listed(target: Target, timeout_s: float, process: ServerProcess) -> tuple[bool, str]:
    status, body = ask(target, "GET", "/v1/models", timeout_s=min(timeout_s, PROBE_TIMEOUT_S))
    _refuse_for_good("/v1/models", status, body, target, process)
    return status == 200, f"/v1/models answered {status or body}"


def _generates(target: Target, timeout_s: float, process: ServerProcess) -> tuple[bool, str]:
    request = {
        "model": target.served_name,
        "prompt": "Hello",
        "max_tokens": 1,
        "temperature": 0,
    }
    status, body = ask(target, "POST", "/v1/completions", request, timeout_s=timeout_s)
    _refuse_for_good("/v1/completions", status, body, target, process)
    return status == 200, f"/v1/completions answered {status or body}"


def _refuse_for_good(
    path: str, status: int | None, body: str, target: Target, process: ServerProcess
) -> None:
    """A 4xx will not mend itself by waiting, except for "too many requests"."""
    if status is not None and 400 <= status < 500 and status != 429:
        raise _not_ready(target, f"{path} answered {status}: {body[:300]}", process)


def ask(
    target: Target,
    method: str,
    path: str,
    document: dict[str, Any] | None = None,
    *,
    timeout_s: float,
) -> tuple[int | None, str]:
    """One request: (status, body), or (None, what went wrong) when no HTTP answer came."""
    headers = {"Connection": "close"}
    if document is not None:
        headers["Content-Type"] = "application/json"
    if target.api_key_file is not None:
        headers["Authorization"] = f"Bearer {key_in(target.api_key_file)}"
    connection = http.client.HTTPConnection(
        target.connect_host, target.port, timeout=max(timeout_s, 0.1)
    )
    try:
        connection.request(method, path, json.dumps(document) if document else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return None, f"{type(error).__name__}: {error}".strip(": ")
    finally:
        connection.close()
