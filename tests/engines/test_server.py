"""A server is ready when it answers, and dead when it is dead: both are noticed at once."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
import time

import pytest

from quantswarm.engines import server as server_module
from quantswarm.engines.base import Command
from quantswarm.engines.placement import Placement
from quantswarm.engines.prepare import Prepared
from quantswarm.engines.server import running, serve_in_foreground, snippet
from quantswarm.models.errors import (
    BadFile,
    NoSpace,
    NotAvailable,
    PortInUse,
    ServerDied,
    ServerNotReady,
)


@pytest.fixture
def run(stub_engine, stub_spec, tmp_path):
    def begin(mode, seconds=0.0, timeout_s=60.0, **options):
        engine = stub_engine(mode, seconds)
        log = tmp_path / "server.log"
        return running(engine, None, stub_spec, (), log=log, timeout_s=timeout_s, **options)

    return begin


def test_a_server_that_takes_its_time(run, stub_spec, gone):
    waits = []
    with run("ok", seconds=1.5, on_wait=lambda s, line: waits.append((s, line))) as server:
        assert server.base_url == f"http://127.0.0.1:{stub_spec.port}/v1"
        assert server.served_name == "stub"
        assert server.load_s >= server.first_ready_s >= 1.4
        assert server.after_load.rss_bytes
        assert (server.after_load.pss_bytes or 0) <= server.after_load.rss_bytes
        assert server.alive()
        assert server.tree() == (server.pid,)
        assert f"listening on {stub_spec.port}" in server.tail()
        pid = server.pid
    assert waits
    assert waits[0][1].startswith("listening")
    gone([pid])


def test_a_dead_server_is_noticed_long_before_the_time_out(run):
    started = time.monotonic()
    with pytest.raises(BadFile) as caught, run("dead", timeout_s=600):
        pass
    assert time.monotonic() - started < 60
    assert "exit code 1" in str(caught.value)
    assert "invalid magic characters" in caught.value.evidence
    assert "corrupt" in caught.value.found
    assert "delete that file" in caught.value.next_step


def test_death_at_the_first_request_is_a_death(run):
    with pytest.raises(NoSpace, match="out of memory"), run("dies-on-request"):
        pass


def test_a_server_that_never_gets_ready(run, gone):
    with pytest.raises(ServerNotReady) as caught, run("never", timeout_s=1.0):
        pass
    assert "no answer within 1 s (/health answered 503)" in caught.value.found
    assert "listening on" in caught.value.evidence


def test_a_server_that_accepts_and_is_silent(run):
    with pytest.raises(ServerNotReady, match="timed out"), run("silent", timeout_s=1.0):
        pass


def test_a_refusal_is_not_waited_for(run):
    started = time.monotonic()
    refused = pytest.raises(ServerNotReady, match="/v1/models answered 401")
    with refused, run("locked", timeout_s=600):
        pass
    assert time.monotonic() - started < 60


def test_a_taken_port_is_named_with_its_owner(run, stub_spec):
    with socket.socket() as other:
        other.bind(("127.0.0.1", stub_spec.port))
        other.listen()
        with pytest.raises(PortInUse) as caught, run("ok"):
            pass
    assert f"127.0.0.1:{stub_spec.port}" in str(caught.value)
    assert str(os.getpid()) in caught.value.evidence
    assert caught.value.exit_code == 2


def test_an_absent_engine_is_not_started(run):
    with pytest.raises(NotAvailable, match="not here") as caught, run("absent"):
        pass
    assert caught.value.next_step == "bring it"


def test_an_error_in_the_body_stops_the_server(run, gone):
    pids = []

    def fail_inside():
        with run("ok") as server:
            pids.append(server.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    gone(pids)


def prepared(spec):
    placed = Placement(threads=1, server_cores=(), process_cores=(), client_cores=())
    return Prepared(spec=spec, flags=(), command=Command(argv=()), placement=placed)


def test_foreground_says_where_and_how_and_notices_death(
    stub_engine, stub_spec, tmp_path, monkeypatch
):
    out = io.StringIO()
    servers = []

    def remembered(server, key):
        servers.append(server)
        return "code"

    monkeypatch.setattr(server_module, "snippet", remembered)
    log = tmp_path / "log"
    engine = stub_engine("ok")
    killer = threading.Thread(target=lambda: _kill_when_shown(out, servers), daemon=True)
    killer.start()
    with pytest.raises(ServerDied, match="SIGKILL"):
        serve_in_foreground(engine, None, prepared(stub_spec), log=log, out=out)
    assert f"http://127.0.0.1:{stub_spec.port}/v1" in out.getvalue()
    assert "model     stub" in out.getvalue()


def _kill_when_shown(out, servers):
    while "Ctrl-C" not in out.getvalue():
        time.sleep(0.02)
    os.kill(servers[0].pid, signal.SIGKILL)


def test_the_snippet_is_python(run, tmp_path):
    with run("ok") as server:
        compile(snippet(server), "snippet", "exec")
        compile(snippet(server, tmp_path / "it's a key"), "snippet", "exec")
        assert server.base_url in snippet(server)
