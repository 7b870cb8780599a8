"""Set-up's choices by machine: torch's build, how llama.cpp is compiled."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from quantswarm.engines.provision import llamacpp_build as build
from quantswarm.engines.provision import llamacpp_wheel
from quantswarm.engines.provision import machine as machines
from quantswarm.engines.provision.cpu_kernels import cpu_kernel_steps
from quantswarm.engines.provision.environment import (
    TORCH_CPU_INDEX,
    Place,
    environment_steps,
    incomplete,
)
from quantswarm.engines.provision.progress import Progress
from quantswarm.engines.provision.steps import carry_out, pending
from quantswarm.engines.vllm_cpu import build as kernels
from quantswarm.models.errors import BuildFailed, NotAvailable
from quantswarm.models.sealed import Contents, sealed_folder
from quantswarm.models.store import home

ROOT = Path(__file__).parents[1]
AVX2 = frozenset({"sse4_2", "avx", "f16c", "fma", "avx2", "bmi2"})
AVX512 = AVX2 | {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}
ZEN4 = AVX512 | {"avx512vbmi", "avx512_vnni", "avx512_bf16"}


@dataclass
class Recorder:
    """Takes the place of running programs; `effects` happen when their words are in the command."""

    effects: Mapping[str, Callable[[list[str]], None]] = field(default_factory=dict)
    ran: list[list[str]] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        words = [str(word) for word in argv]
        self.ran.append(words)
        for name, effect in self.effects.items():
            if name in words or name in Path(words[0]).name:
                effect(words)


def a_machine(**changes: object) -> machines.Machine:
    plain = machines.Machine(
        architecture="x86_64",
        cores=2,
        cpu_flags=AVX2,
        gpu=False,
        nvcc=None,
        compiler=Path("/usr/bin/c++"),
        cmake=Path("/usr/bin/cmake"),
        ninja=Path("/usr/bin/ninja"),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def a_place(folder: Path, run: Recorder, **changes: object) -> Place:
    return Place(root=folder, home=folder / "home", machine=a_machine(**changes), run=run)


def quiet() -> Progress:
    return Progress(["a step"], [1.0], stream=io.StringIO())


@pytest.fixture(autouse=True)
def no_llama_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMA_SERVER_BIN", raising=False)
    monkeypatch.delenv("LLAMA_QUANTIZE_BIN", raising=False)


# The machine


@pytest.mark.parametrize(
    ("flags", "best", "built"),
    [
        (frozenset(), "x64", ("x64",)),
        (frozenset({"sse4_2", "avx"}), "sandybridge", ("sandybridge",)),
        (AVX2, "haswell", ("haswell",)),
        (AVX2 | {"avx_vnni"}, "alderlake", ("haswell", "alderlake")),
        (AVX512, "skylakex", ("haswell", "skylakex")),
        (ZEN4, "zen4", ("haswell", "zen4")),
        (ZEN4 | {"amx_tile", "amx_int8"}, "sapphirerapids", ("haswell", "sapphirerapids")),
    ],
)
def test_the_cpus_flags_choose_what_is_compiled(
    flags: frozenset[str], best: str, built: tuple[str, ...]
) -> None:
    assert machines.cpu_variant(flags) == best
    assert machines.variants_to_build(flags) == built


def test_a_gpu_can_be_hidden_from_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTSWARM_DEVICE", "cpu")
    assert not machines.this_machine().gpu
    monkeypatch.setenv("QUANTSWARM_DEVICE", "cuda")
    assert machines.this_machine().gpu


def test_set_up_and_the_store_agree_on_where_home_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for value in ("", str(tmp_path), "~/elsewhere", "relative"):
        monkeypatch.setenv("QUANTSWARM_HOME", value)
        assert machines.home() == home()


def test_cuda_is_compiled_only_with_both_gpu_and_compiler() -> None:
    nvcc = Path("/usr/local/cuda/bin/nvcc")
    cuda = [
        "GGML_CUDA=ON" in build.recipe_for(a_machine(gpu=gpu, nvcc=compiler)).flags
        for gpu in (False, True)
        for compiler in (None, nvcc)
    ]
    assert cuda == [False, False, False, True]


def test_what_shapes_the_build_is_in_its_folders_name() -> None:
    names = {
        build.recipe_for(a_machine(cpu_flags=AVX2)).name,
        build.recipe_for(a_machine(cpu_flags=ZEN4)).name,
        build.recipe_for(a_machine(gpu=True, nvcc=Path("nvcc"))).name,
        build.recipe_for(a_machine(architecture="aarch64")).name,
    }
    assert len(names) == 4
    assert all(name.startswith(f"{build.VERSION}-") for name in names)


# torch


def torch_that(
    tmp_path: Path, reports: Mapping[str, list[str] | None]
) -> tuple[Recorder, Callable[[], None]]:
    """A pip that finds these builds: `reports` maps "" and the index to what torch would need."""

    def dry_run(words: list[str]) -> None:
        needs = reports["index" if TORCH_CPU_INDEX in words else ""]
        if needs is None:
            raise BuildFailed("pip", "nothing found")
        metadata = {"version": "2.13.0", "requires_dist": needs}
        report = Path(words[words.index("--report") + 1])
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps({"install": [{"metadata": metadata}]}))

    run = Recorder(effects={"--dry-run": dry_run})
    steps = environment_steps(a_place(tmp_path, run))
    step = next(step for step in steps if step.title == "torch")
    return run, lambda: step.work(quiet())


CUDA = ["filelock", "nvidia-cublas==13.0"]


def test_torch_comes_from_where_pip_looks_when_that_is_a_cpu_build(tmp_path: Path) -> None:
    run, install = torch_that(tmp_path, {"": ["filelock"], "index": None})
    install()
    assert "--index-url" not in run.ran[-1]
    assert run.ran[-1][-1] == "torch==2.13.0"


def test_torch_comes_from_pytorchs_index_when_pip_would_bring_cuda(tmp_path: Path) -> None:
    run, install = torch_that(tmp_path, {"": CUDA, "index": ["filelock"]})
    install()
    assert run.ran[-1][-3:] == ["--index-url", TORCH_CPU_INDEX, "torch==2.13.0"]
    assert "--dry-run" not in run.ran[-1]


@pytest.mark.parametrize("index", [None, CUDA])
def test_without_a_cpu_build_the_message_names_the_way_out(
    tmp_path: Path, index: list[str] | None
) -> None:
    run, install = torch_that(tmp_path, {"": CUDA, "index": index})
    with pytest.raises(NotAvailable, match="QUANTSWARM_TORCH_INDEX"):
        install()
    assert all("--dry-run" in words for words in run.ran)


def test_a_gpu_brings_the_other_vllm(tmp_path: Path) -> None:
    titles = [step.title for step in environment_steps(a_place(tmp_path, Recorder(), gpu=True))]
    assert titles == ["environment", "packages", "vllm-cuda"]


def test_a_package_that_an_interrupted_pip_left_half_unpacked_is_noticed(tmp_path: Path) -> None:
    info = tmp_path / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "RECORD").write_text("thing/a.py,sha256=x,3\nthing/b.py,sha256=x,3\n")
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/a.py").write_text("123")
    assert incomplete([tmp_path]) == [("thing", "1.0")]
    (tmp_path / "thing/b.py").write_text("12")
    assert incomplete([tmp_path]) == [("thing", "1.0")]
    (tmp_path / "thing/b.py").write_text("123")
    assert incomplete([tmp_path]) == []


# llama.cpp


def built_tree(folder: Path) -> None:
    """What ninja leaves in `bin`, more than is wanted included."""
    folder.mkdir(parents=True, exist_ok=True)
    names = (*build.PROGRAMS, "test-something", "libllama.so.0.5.0", "libggml-cpu-haswell.so")
    for name in (*names, "libggml-cpu-zen4.so", "libggml-cpu-sandybridge.so"):
        (folder / name).write_text(name)
    (folder / "libllama.so").symlink_to("libllama.so.0.5.0")


def compiling(tmp_path: Path, **changes: object) -> tuple[Recorder, Place]:
    """A place where the sources are unpacked, and compiling leaves a tree."""

    def ninja(words: list[str]) -> None:
        built_tree(Path(words[words.index("-C") + 1]) / "bin")

    run = Recorder(effects={"ninja": lambda words: ninja(words) if "-C" in words else None})
    place = a_place(tmp_path, run, **changes)
    name = build.recipe_for(place.machine).name
    sources = place.home / "llama.cpp" / f"{name}.build/source/x/vendor/llama.cpp"
    sources.mkdir(parents=True)
    archive = place.home / "llama.cpp/sources" / build.SDIST
    archive.parent.mkdir()
    archive.touch()
    return run, place


def test_llama_cpp_is_compiled_once_and_only_what_is_needed(tmp_path: Path) -> None:
    run, place = compiling(tmp_path, cpu_flags=ZEN4)
    step = build.llamacpp_steps(place)[0]
    carry_out([step], quiet())
    assert not pending([step])
    ninja = next(words for words in run.ran if words[0] == "/usr/bin/ninja")
    assert ninja[-7:] == [*build.PROGRAMS, "ggml-cpu-haswell", "ggml-cpu-zen4"]
    configure = next(words for words in run.ran if words[0] == "/usr/bin/cmake")
    assert {"-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON", "-DGGML_NATIVE=OFF"} <= set(
        configure
    )
    current = place.home / "llama.cpp/current"
    assert {path.name for path in (current / "bin").iterdir()} == {
        *build.PROGRAMS,
        *("libllama.so", "libllama.so.0.5.0", "libggml-cpu-haswell.so", "libggml-cpu-zen4.so"),
    }
    assert (current / "bin/libllama.so").is_symlink()
    assert json.loads((current / "manifest.json").read_text())["best"] == "zen4"
    assert not list((place.home / "llama.cpp").glob("*.build"))


def test_a_build_that_stops_half_way_changes_nothing_in_use(tmp_path: Path) -> None:
    run, place = compiling(tmp_path)
    old = place.home / "llama.cpp/old"
    built_tree(old / "bin")
    llamacpp_wheel.point_at(old)

    def stop(_: list[str]) -> None:
        raise KeyboardInterrupt

    run.effects = {"llama-server": stop}  # the very last thing before the folder gets its name
    step = build.llamacpp_steps(place)[0]
    with pytest.raises(KeyboardInterrupt):
        carry_out([step], quiet())
    current = place.home / "llama.cpp/current"
    assert current.resolve() == old.resolve()
    assert pending([step])


def test_a_build_of_another_checkout_is_taken_as_it_is(tmp_path: Path) -> None:
    run, place = compiling(tmp_path)
    step = build.llamacpp_steps(place)[0]
    carry_out([step], quiet())
    other = place.home / "llama.cpp/other"
    built_tree(other / "bin")
    llamacpp_wheel.point_at(other)
    assert pending([step])
    run.ran.clear()
    carry_out([step], quiet())
    assert run.ran == []
    assert not pending([step])


def test_another_archive_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    def download(words: list[str]) -> None:
        folder = Path(words[words.index("-d") + 1])
        folder.mkdir(parents=True)
        (folder / build.SDIST).write_bytes(b"something else")

    place = a_place(tmp_path, Recorder(effects={"download": download}))
    with pytest.raises(BuildFailed, match="sha256"):
        build.fetched(place)
    assert not (place.home / "llama.cpp/sources" / build.SDIST).exists()


def test_without_a_compiler_the_ready_wheel_is_taken_and_said(tmp_path: Path) -> None:
    run = Recorder()
    place = a_place(tmp_path, run, compiler=None)
    (step,) = build.llamacpp_steps(place)
    said = io.StringIO()
    carry_out([step], Progress(["llama.cpp"], [1.0], stream=said))
    assert not pending([step])
    assert run.ran[0][-1] == llamacpp_wheel.XLLAMACPP
    assert "no C++ compiler" in said.getvalue()
    assert "apt install" in said.getvalue()
    server = place.home / "llama.cpp/current/bin/llama-server"
    assert os.access(server, os.X_OK)
    assert f"exec '{place.python}' -m quantswarm.engines.xllama_server" in server.read_text()


def test_the_users_own_llama_cpp_is_not_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAMA_SERVER_BIN", "/somewhere/llama-server")
    monkeypatch.setenv("LLAMA_QUANTIZE_BIN", "/somewhere/llama-quantize")
    assert build.llamacpp_steps(a_place(tmp_path, Recorder())) == []


def test_cpu_kernels_are_compiled_where_vllm_serves_on_a_cpu(tmp_path: Path) -> None:
    here = a_place(tmp_path, Recorder())
    assert [step.title for step in cpu_kernel_steps(here)] == ["CPU kernels for vLLM"]
    assert cpu_kernel_steps(a_place(tmp_path, Recorder(), gpu=True)) == []
    assert cpu_kernel_steps(a_place(tmp_path, Recorder(), compiler=None)) == []
    assert cpu_kernel_steps(a_place(tmp_path, Recorder(), architecture="aarch64")) == []


def test_a_library_of_other_sources_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = a_place(tmp_path, Recorder())
    made: list[Path] = []

    def build_one(home: Path, **_: object) -> Path:
        def make(folder: Path) -> Contents:
            (folder / kernels.LIBRARY).touch()
            return Contents(facts={"sources": kernels.sources_sha256()})

        sealed_folder(home / "vllm_cpu" / "key", asked="kernels", build=make)
        made.append(home)
        return home

    monkeypatch.setattr(kernels, "build", build_one)
    carry_out(cpu_kernel_steps(place), quiet())
    assert made == [place.home]
    assert not pending(cpu_kernel_steps(place))
    monkeypatch.setattr(kernels, "sources_sha256", lambda: "others")
    assert pending(cpu_kernel_steps(place))
