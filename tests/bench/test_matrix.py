"""Matrix files: what they unfold to, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from quantswarm.bench.matrix import FOLDER, Matrix, matrix_named, read_matrix
from quantswarm.models.errors import BadFile, UnknownName

GOOD = """
name = "two"
model = "tiny"
scenario = "smoke"
users = [8, 1]
[[variant]]
engine = "vllm"
quant = "fp32"
[[variant]]
engine = "llamacpp"
quant = "q8_0"
gpu_layers = "all"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.toml"
    path.write_text(text)
    return path


def test_cells_are_variants_times_users_one_server_after_another(tmp_path: Path) -> None:
    matrix = read_matrix(written(tmp_path, GOOD))
    assert [cell.name for cell in matrix.cells()] == [
        "vllm-fp32-u1",
        "vllm-fp32-u8",
        "llamacpp-q8_0-ngl_all-u1",
        "llamacpp-q8_0-ngl_all-u8",
    ]


def test_a_variant_may_have_loads_of_its_own(tmp_path: Path) -> None:
    plain = read_matrix(written(tmp_path, GOOD))
    own = read_matrix(written(tmp_path, GOOD + "users = [2]\n"))
    assert [cell.name for cell in own.cells()][2:] == ["llamacpp-q8_0-ngl_all-u2"]
    first, second = own.variants
    assert (own.places_of(first), own.places_of(second)) == (8, 2)
    assert own.digest() != plain.digest()
    same = dataclasses.replace(
        own, variants=tuple(dataclasses.replace(v, users=()) for v in own.variants)
    )
    assert same.digest() == plain.digest()
    with pytest.raises(BadFile, match="users must be positive"):
        read_matrix(written(tmp_path, GOOD + "users = [0]\n"))


def test_processes_are_a_number_or_left_open(tmp_path: Path) -> None:
    plain, auto = (
        read_matrix(written(tmp_path, text + GOOD)) for text in ("", 'processes = "auto"')
    )
    assert plain.processes is auto.processes is None
    three = read_matrix(written(tmp_path, "processes = 3" + GOOD))
    assert three.processes == 3
    assert len({plain.digest(), auto.digest(), three.digest()}) == 2
    with pytest.raises(BadFile, match="processes must be a whole number of 1 or more"):
        read_matrix(written(tmp_path, "processes = 0" + GOOD))


def test_a_variant_of_another_model_says_so_in_its_name(tmp_path: Path) -> None:
    text = GOOD + '[[variant]]\nengine = "vllm"\nquant = "fp32"\nmodel = "synthetic/0.1b"\n'
    names = [cell.name for cell in read_matrix(written(tmp_path, text)).cells()]
    assert "vllm-fp32-synthetic_0.1b-u1" in names


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_matrix_reads(path: Path) -> None:
    matrix = matrix_named(path.stem)
    assert matrix.name == path.stem
    assert matrix.cells()


def test_the_default_matrix_is_the_promised_one() -> None:
    matrix = matrix_named("default")
    pairs = [(variant.engine, variant.quant) for variant in matrix.variants]
    assert pairs == [
        ("vllm", "fp32"),
        ("vllm", "bf16"),
        ("vllm", "int8"),
        ("vllm", "gptq"),
        ("vllm", "awq"),
        ("vllm", "fp8-kv"),
        ("llamacpp", "f16"),
        ("llamacpp", "q8_0"),
        ("llamacpp", "q4_k_m"),
    ]
    assert matrix.users == (1, 8)
    assert matrix.model == "tiny"


def test_the_digest_changes_with_anything_measured(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        matrix: Matrix = read_matrix(written(tmp_path, text))
        return matrix.digest()

    assert digest(GOOD) == digest(GOOD)
    assert digest(GOOD) != digest(GOOD.replace("[8, 1]", "[8, 2]"))
    assert digest(GOOD) != digest(GOOD.replace("smoke", "chat"))


def test_rounds_go_there_and_back_with_a_seed_of_their_own(tmp_path: Path) -> None:
    text = "rounds = 2\nseed = 7\n" + GOOD.replace("[8, 1]", "[8]")
    cells = read_matrix(written(tmp_path, text)).cells()
    assert [cell.name for cell in cells] == [
        "vllm-fp32-u8",
        "llamacpp-q8_0-ngl_all-u8",
        "llamacpp-q8_0-ngl_all-u8-round2",
        "vllm-fp32-u8-round2",
    ]
    assert [(cell.round, cell.block, cell.seed) for cell in cells] == [
        (1, 1, 7),
        (1, 2, 7),
        (2, 3, 8),
        (2, 4, 8),
    ]
    assert len({cell.server for cell in cells}) == 4


def test_users_and_rates_are_loads_of_one_matrix(tmp_path: Path) -> None:
    arrivals = '[arrivals]\nkind = "gamma"\nburstiness = 0.5\nmax_in_flight = 32\n'
    text = "rates = [4, 0.5]\nslots = 16\n" + GOOD.replace("[8, 1]", "[2]") + arrivals
    matrix = read_matrix(written(tmp_path, text))
    mine = [cell for cell in matrix.cells() if cell.variant.engine == "vllm"]
    assert [cell.name for cell in mine] == ["vllm-fp32-u2", "vllm-fp32-r0.5", "vllm-fp32-r4"]
    assert [cell.users for cell in mine] == [2, 0, 0]
    loops = [cell.arrivals for cell in mine[1:] if cell.arrivals]
    assert [(a.kind, a.rate, a.burstiness, a.max_in_flight) for a in loops] == [
        ("gamma", 0.5, 0.5, 32),
        ("gamma", 4.0, 0.5, 32),
    ]
    assert matrix.places_of(matrix.variants[0]) == 16


def test_rates_alone_are_poisson_and_leave_the_servers_room_to_the_default(tmp_path: Path) -> None:
    text = "rates = 3\n" + GOOD.replace("users = [8, 1]\n", "")
    matrix = read_matrix(written(tmp_path, text))
    (first, _) = matrix.cells()
    assert first.arrivals is not None
    assert (first.arrivals.kind, first.arrivals.rate) == ("poisson", 3.0)
    assert matrix.places_of(matrix.variants[0]) is None


def test_a_trace_needs_no_rate(tmp_path: Path) -> None:
    text = GOOD.replace("users = [8, 1]\n", "") + '[arrivals]\ntrace = "t.csv"\n'
    (first, _) = read_matrix(written(tmp_path, text)).cells()
    assert first.name == "vllm-fp32-trace"
    assert first.arrivals is not None
    assert first.arrivals.trace == Path("t.csv")


def test_a_label_and_options_set_variants_apart(tmp_path: Path) -> None:
    again = '[[variant]]\nengine = "vllm"\nquant = "fp32"\nlabel = "long cache"\n'
    again += "options = { block = 32 }\n"
    matrix = read_matrix(written(tmp_path, 'baseline = "long cache"\n' + GOOD + again))
    assert matrix.variants[-1].name == matrix.baseline == "long cache"
    assert matrix.variants[-1].options == (("block", "32"),)
    assert matrix.cells()[-1].name == "vllm-fp32-long_cache-u8"


def test_what_came_later_leaves_old_digests_alone() -> None:
    """A run that was begun before can be resumed; who is the baseline changes no measurement."""
    matrix = matrix_named("half-billion")
    assert matrix.digest() == "9f057a2993932b08"
    assert dataclasses.replace(matrix, baseline="vllm-bf16").digest() == matrix.digest()
    assert dataclasses.replace(matrix, rounds=2).digest() != matrix.digest()


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean default"):
        matrix_named("defualt")


def test_a_baseline_must_be_a_variant(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean vllm-fp32"):
        read_matrix(written(tmp_path, 'baseline = "vlm-fp32"\n' + GOOD))


def test_an_unknown_key_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean users"):
        read_matrix(written(tmp_path, GOOD.replace("users", "user")))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (GOOD.replace("[8, 1]", "[0]"), "positive whole numbers"),
        (GOOD.replace("[8, 1]", "[]"), "missing or empty"),
        (GOOD.replace('model = "tiny"\n', ""), "'model' is missing"),
        (GOOD.replace('quant = "fp32"\n', ""), "needs engine and quant"),
        (GOOD + GOOD[GOOD.index("[[variant]]") :], "the same cell twice"),
        (GOOD.replace("=", ":", 1), "not readable as TOML"),
        ("warmup_s = -1\n" + GOOD, "warmup_s must be seconds"),
        ("duration_s = 0\n" + GOOD, "duration_s must be seconds above 0"),
        ("duration_s = nan\n" + GOOD, "duration_s must be seconds"),
        ('seed = "x"\n' + GOOD, "seed must be a whole number"),
        (GOOD + 'threads = "two"\n', "threads must be a whole number of 1 or more"),
        (GOOD + 'eager = "no"\n', "eager must be true or false"),
        ("rounds = 0\n" + GOOD, "rounds must be a whole number of 1 or more"),
        ("rates = [0]\n" + GOOD, "rates must be requests a second above 0"),
        (GOOD + "[arrivals]\nburstiness = 0.5\n", "need rates"),
        ("rates = [1]\n" + GOOD + '[arrivals]\nkind = "ramp"\n', "peak rate: it is missing"),
        ("rates = [1]\n" + GOOD + '[arrivals]\nsteps = "two"\n', "steps of arrivals must be"),
        ("arrivals = 3\n" + GOOD, "under a line"),
        (GOOD + 'options = "x"\n', "options must be like"),
        (GOOD.replace("users = [8, 1]\n", ""), "there are no 'rates'"),
        ("variant = 3\n" + GOOD[: GOOD.index("[[variant]]")], "each under a line"),
    ],
)
def test_bad_matrices_are_refused(tmp_path: Path, broken: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        read_matrix(written(tmp_path, broken))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file"):
        matrix_named(str(tmp_path / "none.toml"))


def test_a_folder_is_no_matrix(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="not readable"):
        matrix_named(f"{tmp_path}/")


def test_a_name_becomes_fit_for_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(GOOD.replace('name = "two"', 'name = "../a b-c"'))
    assert matrix_named(str(path)).name == ".._a_b-c"
