"""Where requests go, and the connection one user keeps to it."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from quantswarm.models.errors import RunFailed, UserMistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A base URL taken apart; `address` is what is dialled, `host` what the Host header says."""

    host: str
    hostname: str
    address: str
    port: int
    path: str
    tls: bool

    def target(self, api: str) -> str:
        """Request path of an API ("completions" or "chat")."""
        return f"{self.path}/{'chat/completions' if api == 'chat' else api}"


def endpoint_of(base_url: str) -> Endpoint:
    """Parse without any look-up; `address` stays the name. `UserMistake` when it is no http URL."""
    parts = urlsplit(base_url if "://" in base_url else f"http://{base_url}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise UserMistake(
            f"endpoint {base_url!r}",
            "not an http or https URL",
            next_step="give the base URL with its /v1, say http://127.0.0.1:8000/v1",
        )
    tls = parts.scheme == "https"
    return Endpoint(
        host=parts.netloc.rpartition("@")[2],
        hostname=parts.hostname,
        address=parts.hostname,
        port=port or (443 if tls else 80),
        path=parts.path.rstrip("/"),
        tls=tls,
    )


def resolved(endpoint: Endpoint) -> Endpoint:
    """The same with an IP literal, so that no look-up happens while measuring."""
    try:
        found = socket.getaddrinfo(endpoint.hostname, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RunFailed(
            f"endpoint {endpoint.host}",
            f"its name cannot be resolved ({error})",
            next_step="check the host's name, or give its IP address",
        ) from error
    return Endpoint(
        host=endpoint.host,
        hostname=endpoint.hostname,
        address=str(found[0][4][0]),
        port=endpoint.port,
        path=endpoint.path,
        tls=endpoint.tls,
    )


class Link:
    """One user's connection: opened when needed, kept where the server allows it.

    A kept connection that the server has closed meanwhile is noticed *before* anything is sent and
    replaced, so nothing is ever sent twice.
    """

    def __init__(self, endpoint: Endpoint, *, keeps_alive: bool) -> None:
        self.keeps_alive = keeps_alive
        self._endpoint = endpoint
        self._socket: socket.socket | None = None
        self._tls = ssl.create_default_context() if endpoint.tls else None

    @property
    def tls(self) -> bool:
        """Whether bytes are encrypted, and so read through more than the socket."""
        return self._tls is not None

    def open(self, timeout_s: float) -> tuple[socket.socket, bool]:
        """A connected socket, and whether it served an earlier request; raises `OSError`."""
        if self._socket is not None:
            if _silent(self._socket):
                return self._socket, True
            self.close()
        self._socket = self._dial(timeout_s)
        return self._socket, False

    def done(self, *, reusable: bool) -> None:
        """End of one exchange; the connection is closed unless both sides would keep it."""
        if not (reusable and self.keeps_alive):
            self.close()

    def hang_up(self) -> None:
        """End the connection in both directions, from beside whoever waits for it; they wake.

        On a second descriptor: this must not touch what TLS keeps about the first.
        """
        if self._socket is None:
            return
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._socket.fileno())) as s:
            s.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _dial(self, timeout_s: float) -> socket.socket:
        # `create_connection` would look the literal up, which in the swarm takes a thread's time.
        end = self._endpoint
        raw = socket.socket(socket.AF_INET6 if ":" in end.address else socket.AF_INET)
        try:
            raw.settimeout(timeout_s)
            raw.connect((end.address, end.port))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return raw
            return self._tls.wrap_socket(raw, server_hostname=end.hostname)
        except BaseException:
            raw.close()
            raise


def _silent(idle: socket.socket) -> bool:
    """Whether an idle connection still stands: no end, no error and no stray byte waits in it."""
    idle.settimeout(0.0)
    try:
        idle.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False
