"""The command line as a user meets it: messages, exit codes, one JSON document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantswarm.bench import cli
from quantswarm.models.errors import NoSpace


def quantswarm(words: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quantswarm.bench.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "QUANTSWARM_HOME": str(home), "HOME": str(home)},
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serve", "--engine", "vlm", "--quant", "fp32"], "Did you mean vllm"),
        (["serve", "--engine", "vllm", "--quant", "fp23"], "Did you mean fp32"),
        (["serve", "--engine", "vllm", "--quant", "q8_0"], "Engines that can: llamacpp"),
        (["serve", "--engine", "vllm", "--quant", "fp32", "--model", "tniy"], "Did you mean tiny"),
        (["serve", "--engine", "llamacpp"], "no quantization was given"),
        (["serve", "--engine", "scripted", "--quant", "q8_0"], "serves no weights"),
        (["swarm"], "give either --engine"),
        (["swarm", "--engine", "scripted", "--scenario", "chatt"], "Did you mean chat"),
        (
            ["swarm", "--engine", "scripted", "--scenario", "rag", "--context", "512"],
            "1,824 tokens (1,664 of prompts, 160 of answers), and --context gives it 512",
        ),
        (["swarm", "--engine", "scripted", "--data", "none.json"], "none.json: cannot be read"),
        (["swarm", "--engine", "scripted", "--users", "0"], "--users 0: not a whole number of 1"),
        (["swarm", "--engine", "scripted", "--duration", "nan"], "--duration nan: not a time"),
        (["swarm", "--engine", "scripted", "--warmup", "-1"], "--warmup -1: not a time"),
        (["swarm", "--engine", "scripted", "--out", "/dev/null"], "path /dev/null"),
        (["swarm", "--engine", "scripted", "--api-key-file", "nokey"], "key file nokey"),
        (["swarm", "--url", "ftp://127.0.0.1/v1", "--served-name", "m"], "not an http or https"),
        (["serve", "--engine", "scripted", "--port", "99999"], "from 0 to 65535"),
        (["serve", "--engine", "scripted", "--api-key-file", "nokey"], "key file nokey"),
        (["serve", "--engine", "scripted", "--log", "/dev/null/log"], "path /dev/null"),
        (["serve", "--engine", "llamacpp", "--quant", "q8_0", "--context", "-5"], "--context -5"),
        (["bench", "--matrix", "./"], "not readable as TOML"),
        (["bench", "--matrix", "defalt"], "Did you mean default"),
        (["bench", "--matrix", "none.toml"], "no such file"),
        (["report", "nowhere"], "no run.json"),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_clear_message(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = quantswarm(words, tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "Next: " in done.stderr
    assert done.stdout == ""


def test_an_unreachable_server_is_said_so(tmp_path: Path) -> None:
    done = quantswarm(["swarm", "--url", "http://127.0.0.1:9/v1"], tmp_path)
    assert done.returncode == 1
    assert "no answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["engines", "models", "quants", "doctor"])
def test_lists_are_one_json_document(command: str, tmp_path: Path) -> None:
    done = quantswarm([command, "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_engines_document_has_the_promised_form(tmp_path: Path) -> None:
    document = json.loads(quantswarm(["engines", "--json"], tmp_path).stdout)
    rows = {row["name"]: row for row in document["engines"]}
    assert {"vllm", "llamacpp", "llamacpp-python", "scripted"} <= set(rows)
    for row in rows.values():
        assert {"name", "available", "version", "device", "reason", "quants"} <= set(row)
    quants = {quant["name"]: quant for quant in rows["vllm"]["quants"]}
    assert quants["q8_0"]["runnable"] is False
    assert "gguf" in quants["q8_0"]["reason"]


def test_a_dry_run_prints_argv_environment_and_reasons_and_starts_nothing(tmp_path: Path) -> None:
    words = ["serve", "--engine", "llamacpp", "--quant", "int4", "--dry-run"]
    document = json.loads(quantswarm(words, tmp_path).stdout)
    assert {"argv", "env", "reasons"} <= set(document)
    assert "threads" in document["reasons"]
    assert not (tmp_path / "artefacts").exists()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom quantswarm.bench import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'vllm', 'locust', 'gevent', 'numpy', 'matplotlib', 'pyarrow'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "HEAVY []" in done.stdout


def test_doctor_fails_where_nothing_can_serve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("quantswarm.engines.doctor.checks", lambda: ())
    monkeypatch.setattr("quantswarm.engines.registry.engines", dict)
    assert cli.main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"checks": []}


def test_a_home_that_cannot_be_used_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = quantswarm(["swarm", "--engine", "scripted", "--duration", "1"], tmp_path / "file")
    assert done.returncode == 2
    assert "QUANTSWARM_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "quantswarm.bench.cli", "quants"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "QUANTSWARM_HOME": str(tmp_path), "HOME": str(tmp_path)},
        )
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert done.stderr == ""


def test_an_interrupt_is_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("quantswarm.bench.commands.quants.run", interrupted)
    assert cli.main(["quants"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_full_disk_is_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_arguments: object) -> int:
        raise OSError(28, "No space left on device", "/somewhere/file")

    monkeypatch.setattr("quantswarm.bench.commands.quants.run", full)
    assert cli.main(["quants"]) == NoSpace.exit_code
    error = capsys.readouterr().err
    assert "/somewhere/file" in error
    assert "Traceback" not in error
