"""The compose files: valid, pinned, not root, on loopback, and the command that serve would run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from quantswarm.bench.load.link import endpoint_of
from quantswarm.engines.base import Command, ServeSpec
from quantswarm.engines.registry import engine_named, flags_for
from quantswarm.models.artefact import Artefact
from quantswarm.models.recipes import recipe_named

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "compose"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
ENGINES = {
    "vllm-cpu.yaml": ("vllm", "bf16", "cpu"),
    "vllm-cuda.yaml": ("vllm", "bf16", "cuda"),
    "llamacpp-cpu.yaml": ("llamacpp", "q4_k_m", "cpu"),
    "llamacpp-cuda.yaml": ("llamacpp", "q4_k_m", "cuda"),
}
WORDS_OF_THE_PROGRAM = {"vllm": 3, "llamacpp": 1}  # python -m module; llama-server


def interpolated(text: str, variables: dict[str, str]) -> str:
    """`${NAME:-default}` and `${NAME:?why}`, as compose reads them."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name in variables:
            return variables[name]
        assert operator == ":-", f"{name} is needed: {rest}"
        return rest

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", value, text)


def document(name: str) -> dict[str, Any]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(interpolated(text, {"QUANTSWARM_WEIGHTS": "/weights"}))
    return loaded


def services() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in FILES:
        for service, settings in document(name)["services"].items():
            yield f"{name}:{service}", settings


def serve_command(name: str) -> Command:
    """What `serve --dry-run` prints for the container's paths, address and share of the machine."""
    engine_name, quant, device = ENGINES[name]
    engine, recipe = engine_named(engine_name), recipe_named(quant)
    file = "model.gguf" if recipe.format == "gguf" else "model"
    artefact = Artefact(
        path=Path("/models") / file,
        format=recipe.format,
        model="model",
        quant=quant,
        weights_bytes=0,
        sha256="",
        tokenizer=None,
        context_tokens=2048,
        random_weights=False,
    )
    spec = ServeSpec(
        host="0.0.0.0",
        port=8000,
        served_name="model",
        threads=2,
        cores=(),
        slots=8,
        context_tokens=2048,
        device=device,
        gpu_layers=-1 if device == "cuda" else 0,
    )
    return engine.command(artefact, spec, flags_for(engine, recipe))


def test_there_is_a_file_for_each_engine_and_the_swarm() -> None:
    assert set(FILES) == {*ENGINES, "swarm.yaml"}


@pytest.mark.parametrize("name", FILES)
def test_it_is_valid_by_the_compose_specification(name: str) -> None:
    """The schema is the specification's own; the package check-jsonschema carries a copy.

    It is found, not imported: only that file of it is used, so its own needs are not installed.
    """
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None
    assert package.origin is not None
    schema = Path(package.origin).parent / "builtin_schemas/vendor/compose-spec.json"
    text = schema.read_text(encoding="utf-8")
    jsonschema.validate(document(name), json.loads(text))


@pytest.mark.parametrize("name", ENGINES)
def test_its_command_is_what_serve_would_run(name: str) -> None:
    expected = serve_command(name)
    engine = document(name)["services"]["engine"]
    program = WORDS_OF_THE_PROGRAM[ENGINES[name][0]]
    assert engine["command"] == list(expected.argv[program:])
    assert Path(engine["entrypoint"][0]).name.startswith(("python3", "llama-server"))
    assert engine["entrypoint"][1:] == list(expected.argv[1:program])
    assert expected.env.items() <= engine.get("environment", {}).items()


@pytest.mark.parametrize(("place", "settings"), services(), ids=lambda given: str(given)[:40])
def test_every_service_is_pinned_confined_and_watched(place: str, settings: dict[str, Any]) -> None:
    tag = settings["image"].rpartition(":")[2]
    assert re.search(r"\d", tag), f"{place}: a moving tag"
    assert settings["user"] not in {"", "root", "0", "0:0"}
    assert settings["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in settings["security_opt"]
    assert "healthcheck" in settings
    assert not settings.get("privileged")
    for port in settings.get("ports", []):
        assert str(port).startswith("127.0.0.1:")


@pytest.mark.parametrize("name", ENGINES)
def test_weights_are_a_volume_that_nothing_writes_to(name: str) -> None:
    compose = document(name)
    assert compose["services"]["engine"]["volumes"] == ["weights:/models:ro"]
    assert compose["volumes"]["weights"]["driver_opts"]["device"] == "/weights"


@pytest.mark.parametrize("name", ENGINES)
def test_a_gpu_is_asked_for_where_it_is_needed(name: str) -> None:
    engine = document(name)["services"]["engine"]
    assert ("deploy" in engine) == name.endswith("cuda.yaml")


def test_the_swarm_finds_the_engine_by_its_service_name() -> None:
    master = document("swarm.yaml")["services"]["swarm-master"]
    endpoint = endpoint_of(master["environment"]["QUANTSWARM_URL"])
    assert (endpoint.hostname, endpoint.port, endpoint.path) == ("engine", 8000, "/v1")
    for name in ENGINES:
        assert "engine" in document(name)["services"]


def test_what_the_swarm_mounts_exists() -> None:
    for settings in document("swarm.yaml")["services"].values():
        for mount in settings["volumes"]:
            assert (FOLDER / mount.split(":")[0]).exists(), mount


class _Streams(BaseHTTPRequestHandler):
    """Answers every completion with two tokens, as a server-sent stream."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for text in ("one", "two"):
            event = json.dumps({"choices": [{"index": 0, "text": text}]})
            self.wfile.write(f"data: {event}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def streaming_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Streams)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_swarms_locustfile_drives_a_server(streaming_url: str, tmp_path: Path) -> None:
    """As a worker does it, with Locust's own command, for a second, without the page."""
    arguments = (
        "--headless",
        "-u",
        "2",
        "-r",
        "2",
        "-t",
        "1s",
        "--stop-timeout",
        "20",
        "--only-summary",
        "--exit-code-on-error",
        "3",
    )
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", FOLDER / "locustfile.py", *arguments],
        env={**os.environ, "QUANTSWARM_URL": streaming_url, "QUANTSWARM_CAPTURES": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (spool,) = tmp_path.glob("*.spool")
    assert b"data: [DONE]" in spool.read_bytes()
