"""What goes wrong while a GGUF file is quantized, and what is kept of how it was made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quantswarm.models import gguf_file, gguf_importance, gguf_tools, store
from quantswarm.models.artefact import ModelSource
from quantswarm.models.errors import BadFile, BuildFailed, NotAvailable, QuantswarmError
from quantswarm.models.recipes import recipe_named

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Writes a shell script that stands for one of llama.cpp's programs."""

    def write(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv(gguf_tools.variable(name), str(path))
        return path

    return write


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ('cp "$1" "$2"; kill -9 $$', BuildFailed, "killed by signal 9"),
        ('head -c 3000 "$1" > "$2"', BadFile, "truncated"),
        ("echo \"llama_quantize: invalid ftype '$3'\"; exit 1", NotAvailable, "does not know"),
        ("exit 0", BuildFailed, "status 0"),
    ],
)
def test_a_failed_quantizer_leaves_nothing(
    micro: ModelSource, program: Program, script: str, error: type[QuantswarmError], words: str
) -> None:
    program("llama-quantize", script)
    with pytest.raises(error, match=words):
        store.artefact(micro, recipe_named("q6_k"))
    left = [path.name for path in (store.home() / "artefacts").iterdir() if path.is_dir()]
    assert [name.endswith("-f16") for name in left] == [True]


FALLING_BACK = (
    "echo 'warning: blk.0.ffn_down.weight  - ncols  96 not divisible by 256"
    " (required for type q6_K) -> falling back to q8_0'"
)


def test_what_fell_back_is_kept_beside_the_file(
    micro: ModelSource, program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    patched = f'{FALLING_BACK}; python3 -c \'{_PATCH}\' "$1" "$2" 18'
    program("llama-quantize", patched)
    made = store.artefact(micro, recipe_named("q6_k"))
    account = json.loads((made.path.parent / store.PROVENANCE).read_text())
    (line,) = account["fallbacks"]
    assert "blk.0.ffn_down.weight" in line
    assert account["tensors"] == gguf_file.read(made.path).types
    assert account["importance"] is None
    assert "1 tensors do not fit" in capsys.readouterr().err


_PATCH = (
    'import sys; d = bytearray(open(sys.argv[1], "rb").read()); k = b"general.file_type";'
    ' d[d.index(k) + len(k) + 4] = int(sys.argv[3]); open(sys.argv[2], "wb").write(d)'
)


def test_the_importance_matrix_is_made_once_and_accounted_for(
    micro: ModelSource, program: Program, tmp_path: Path
) -> None:
    program("llama-imatrix", f'echo ran >> {tmp_path}/runs; cp "$4" "$6"')
    program("llama-quantize", f'[ $1 = --imatrix ] && python3 -c \'{_PATCH}\' "$3" "$4" 30')
    wide = store.artefact(micro, recipe_named("f16"))
    first = gguf_importance.importance(wide.path)
    made = store.artefact(micro, recipe_named("iq4_xs"))
    account = json.loads((made.path.parent / store.PROVENANCE).read_text())
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert account["importance"] == first.facts
    assert account["importance"]["weights_sha256"] == wide.sha256
    assert {"rows", "seed", "text", "text_sha256"} <= set(account["importance"])


def test_a_failed_importance_matrix_shows_its_last_words(
    micro: ModelSource, program: Program
) -> None:
    program("llama-quantize", "exit 0")
    program("llama-imatrix", "echo too little text >&2; exit 1")
    with pytest.raises(BuildFailed, match="importance matrix") as caught:
        store.artefact(micro, recipe_named("iq4_xs"))
    assert "too little text" in str(caught.value)


def test_calibration_leaves_out_what_is_held_out(tmp_path: Path) -> None:
    from quantswarm.models.train.corpus import is_held_out

    for number in range(200):
        (tmp_path / f"m{number}.py").write_text(f"<{number}>" * 40)
    settings = gguf_importance.Calibration(rows=500, row_characters=40)
    text = gguf_importance.calibration_text(settings, tmp_path)
    assert text == gguf_importance.calibration_text(settings, tmp_path)
    held_out = {n for n in range(200) if is_held_out(f"m{n}.py")}
    seen = {n for n in range(200) if f"<{n}>" in text}
    assert held_out
    assert seen == set(range(200)) - held_out
    other = gguf_importance.Calibration(rows=500, row_characters=40, seed=1)
    assert text != gguf_importance.calibration_text(other, tmp_path)


def test_the_matrix_program_is_looked_for_beside_the_users_quantizer(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program("llama-quantize", "exit 0")
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(NotAvailable, match="LLAMA_IMATRIX_BIN"):
        gguf_tools.program("llama-imatrix")
    beside = tmp_path / "llama-imatrix"
    beside.write_text("#!/bin/sh\n")
    beside.chmod(0o755)
    assert gguf_tools.program("llama-imatrix") == beside


def test_cache_types_serve_the_f16_file_itself(micro: ModelSource) -> None:
    made = store.artefact(micro, recipe_named("q8_0-kv"))
    wide = store.artefact(micro, recipe_named("f16"))
    assert (made.path, made.sha256, made.quant) == (wide.path, wide.sha256, "q8_0-kv")
