"""A GPU's arguments, taken by the real programs: they are read before any device is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from quantswarm.engines.hardware import Host
from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import running
from quantswarm.models import source, store
from quantswarm.models.recipes import recipe_named

pytestmark = pytest.mark.engines

GOLDEN = Path(__file__).parent / "golden"
COMMANDS = {file.stem: file for file in sorted(GOLDEN.glob("vllm--*--cuda.json"))}
PARSER = """\
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.utils.argparse_utils import FlexibleArgumentParser

parser = make_arg_parser(FlexibleArgumentParser())
names = ("gpu_memory_utilization", "kv_cache_dtype", "linear_backend", "enforce_eager", "dtype")
for line in sys.stdin:
    parsed = parser.parse_args(json.loads(line))
    validate_parsed_serve_args(parsed)
    print(json.dumps({name: getattr(parsed, name) for name in names}))
"""


def parsed(*commands: list[str]) -> list[dict[str, Any]]:
    """What vLLM's own parser makes of each; its words are the error's where it refuses one."""
    lines = "".join(json.dumps(command) + "\n" for command in commands)
    done = subprocess.run(
        [sys.executable, "-c", PARSER],
        check=False,
        input=lines,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_vllm_takes_every_command_for_a_gpu() -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    words = {name: json.loads(file.read_text())["argv"][3:] for name, file in COMMANDS.items()}
    assert len(words) >= 10
    chosen = ["--gpu-memory-utilization", "0.5", "--linear-backend", "marlin", "--enforce-eager"]
    *each, last = parsed(*words.values(), [*words["vllm--gptq--cuda"], *chosen])
    for name, found in zip(words, each, strict=True):
        assert found["gpu_memory_utilization"] == 0.9, name
        assert found["linear_backend"] == "auto", name
        assert found["kv_cache_dtype"] == ("fp8" if "fp8-kv" in name else "auto"), name
        assert found["enforce_eager"] is False, name
    assert dict(zip(words, each, strict=True))["vllm--fp16--cuda"]["dtype"] == "float16"
    assert last["gpu_memory_utilization"] == 0.5
    assert (last["linear_backend"], last["enforce_eager"]) == ("marlin", True)


@pytest.mark.parametrize("layers", ["all", "half", "none"])
def test_llamacpp_takes_them_and_answers(layers: str, gpu_host: Host, tmp_path: Path) -> None:
    """A build without CUDA says that it has no GPU, and serves on the CPU."""
    engine = engine_named("llamacpp")
    available = engine.probe()
    if not available.available:
        pytest.skip(f"missing: {engine.name} ({available.reason})")
    recipe = recipe_named("f16")
    artefact = store.artefact(source.resolve("tiny"), recipe)
    options = ServeOptions(port=0, users=2, context_tokens=128, gpu_layers=layers)
    prepared = prepare(engine, recipe, artefact, options, host=gpu_host, device="cuda")
    argv = prepared.command.argv
    assert argv[argv.index("-ngl") + 1] == {"all": "all", "half": "4", "none": "0"}[layers]
    log = tmp_path / "server.log"
    with running(engine, artefact, prepared.spec, prepared.flags, log=log) as server:
        body = json.dumps({"model": server.served_name, "prompt": "The", "max_tokens": 4}).encode()
        request = urllib.request.Request(
            f"{server.base_url}/completions", body, {"Content-Type": "application/json"}
        )
        answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
    assert answer["usage"]["completion_tokens"] == 4
    told = log.read_text(errors="replace")
    assert "flash_attn            = enabled" in told
    if available.device == "cpu":
        assert "no usable GPU found" in told
