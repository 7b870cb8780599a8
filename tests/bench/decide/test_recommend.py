"""`quantswarm recommend`: what it names, why, and that it names nothing where nothing qualifies."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from decided_run import document, write_decided
from made_run import Load, write_cell

from quantswarm.bench import cli
from quantswarm.bench.decide.constraint import parse_constraints
from quantswarm.bench.decide.recommendation import Question
from quantswarm.bench.decide.runs import recommend
from quantswarm.bench.decide.use_case import ANY, use_case_named
from quantswarm.models.errors import UnknownName, UserMistake


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decided(tmp_path_factory.mktemp("runs") / "whole")


def asked(
    run: Path, use_case: str | None = None, users: int | None = None, *constraints: str
) -> dict[str, Any]:
    question = Question(
        use_case=use_case_named(use_case) if use_case else ANY,
        users=users,
        constraints=parse_constraints(constraints),
    )
    return recommend([run], question)


def kinds(found: dict[str, Any]) -> dict[str, str]:
    return {one["variant"]: one["kind"] for one in found["others"]}


def test_the_fastest_wins_and_the_reason_has_its_numbers(run: Path) -> None:
    found = asked(run, None, 1)
    assert found["recommended"]["variant"] == "llamacpp-q4_k_m"
    assert found["runner_up"]["variant"] == "llamacpp-q8_0"
    assert "tok/s" in found["reason"]
    assert "worse" in found["reason"]
    assert found["baseline"] == "llamacpp-f16"
    assert kinds(found).keys() == {"llamacpp-f16", "llamacpp-q8_0"}


def test_under_load_another_one_wins(run: Path) -> None:
    found = asked(run)
    assert (found["load"], found["recommended"]["variant"]) == ("8 users", "llamacpp-q8_0")


def test_a_use_case_of_little_loss_excludes_the_lossy_one_with_its_number(run: Path) -> None:
    found = asked(run, "code", 1)
    assert found["recommended"]["variant"] == "llamacpp-q8_0"
    (lossy,) = (one for one in found["others"] if one["variant"] == "llamacpp-q4_k_m")
    assert lossy["kind"] == "constraint"
    assert "perplexity_increase_percent 3.045, not < 1, missed by 205%" in lossy["why"]


def test_edge_takes_the_least_memory_alone(run: Path) -> None:
    found = asked(run, "edge")
    assert (found["load"], found["recommended"]["variant"]) == ("1 user", "llamacpp-q4_k_m")


def test_long_context_says_that_the_cache_is_not_known(run: Path) -> None:
    found = asked(run, "long-context")
    assert found["recommended"]
    assert any("kv_bytes_per_token is not known" in text for text in found["not_measured"])


def test_a_difference_inside_the_noise_is_a_tie(tmp_path: Path) -> None:
    run = write_decided(tmp_path / "a", quality=False)
    about: dict[str, Any] = {"rss_peak_bytes": 200_000_000, "weights_bytes": 20_000_000}
    twin = Load(users=1, ttft_ms=20.0, itl_ms=5.0, tokens=24, jitter=0.2)
    write_cell(run, "llamacpp", "q4_0", twin, **about)
    found = asked(run, None, 1)
    assert {found["recommended"]["variant"], *found["tied"]} == {
        "llamacpp-q4_0",
        "llamacpp-q4_k_m",
    }
    assert "a tie" in found["reason"]
    assert "tie" in kinds(found).values()


def test_each_is_behind_in_the_goal_that_the_first_leads_in(tmp_path: Path) -> None:
    """Of two that are equally fast the loss decides; the third is slower, and loses less."""
    run = write_decided(tmp_path / "a")
    about: dict[str, Any] = {"rss_peak_bytes": 200_000_000, "weights_bytes": 20_000_000}
    twin = Load(users=1, ttft_ms=20.0, itl_ms=5.0, tokens=24, jitter=0.2)
    write_cell(run, "llamacpp", "q4_0", twin, **about)
    told = document("q4_k_m") | {"quant": "q4_0", "variant": "llamacpp-q4_0"}
    told |= {"delta_nll": 0.01, "delta_nll_ci": [0.008, 0.012], "perplexity_ratio": math.exp(0.01)}
    (run / "quality" / "llamacpp-q4_0.json").write_text(json.dumps(told))
    found = asked(run, "chat", 1)
    assert found["recommended"]["variant"] == "llamacpp-q4_0"
    assert "+3.05% (the first is 2.04 points lower)" in found["reason"]
    why = {one["variant"]: one["why"] for one in found["others"]}
    assert "perplexity increase +1.01% against +3.05%" in why["llamacpp-q4_k_m"]
    assert "output" in why["llamacpp-f16"]
    assert "perplexity" not in why["llamacpp-f16"]


def test_an_invalid_one_is_never_named_however_fast(tmp_path: Path) -> None:
    run = write_decided(tmp_path / "a")
    for quant, status in (("q2_k", "invalid"), ("q3_k", "failed")):
        about: dict[str, Any] = {"status": status, "reason": "made up"}
        write_cell(run, "llamacpp", quant, Load(users=8, itl_ms=0.5), **about)
    found = asked(run)
    assert found["recommended"]["variant"] == "llamacpp-q8_0"
    assert kinds(found)["llamacpp-q2_k"] == "invalid"
    assert kinds(found)["llamacpp-q3_k"] == "failed"


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    found = asked(write_decided(tmp_path / "a", quality=False), "chat")
    told = " ".join(found["not_measured"])
    for part in ("Quality was not measured", "measured once", "halves", "no GPU", "Only tiny"):
        assert part in told
    assert "in quality was not measured" in found["reason"]


def test_a_limit_of_the_use_case_needs_no_number_but_an_asked_one_does(tmp_path: Path) -> None:
    run = write_decided(tmp_path / "a", quality=False)
    assert asked(run, "chat", 1)["recommended"]["variant"] == "llamacpp-q4_k_m"
    found = asked(run, "chat", 1, "perplexity_increase_percent<5")
    assert found["recommended"] is None
    assert set(kinds(found).values()) == {"constraint"}


def test_users_between_two_loads_take_the_next_more_and_beyond_are_refused(run: Path) -> None:
    found = asked(run, None, 3)
    assert found["load"] == "8 users"
    assert "3 users were not measured" in found["note"]
    with pytest.raises(UserMistake, match="no valid cell has so many users"):
        asked(run, None, 9)


def test_several_models_need_one_to_be_named(tmp_path: Path) -> None:
    run = write_decided(tmp_path / "a")
    write_cell(run, "vllm", "bf16", Load(users=8), model="large")
    with pytest.raises(UserMistake, match="several models"):
        asked(run)
    found = recommend([run], Question(use_case=ANY), model="large")
    assert found["recommended"]["model"] == "large"
    with pytest.raises(UnknownName, match="Did you mean large"):
        recommend([run], Question(use_case=ANY), model="larg")
    with pytest.raises(UnknownName, match="Did you mean llamacpp-f16"):
        recommend([run], Question(use_case=ANY), model="tiny", baseline="llamacpp-f1")


def test_two_runs_meet_with_their_own_quality(tmp_path: Path) -> None:
    one, two = write_decided(tmp_path / "one"), write_decided(tmp_path / "two", quality=False)
    found = recommend([one, two], Question(use_case=ANY, users=1))
    assert found["recommended"]["variant"].startswith("llamacpp-q4_k_m@")
    assert found["tied"]
    assert found["baseline"] == "llamacpp-f16@one"
    assert any("llamacpp-q4_k_m@two" in text for text in found["not_measured"])


def test_the_command_prints_words_or_a_document_and_its_exit_code(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["recommend", str(run), "--use-case", "chat", "--machine", "aws-c7i.xlarge"]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "run llamacpp-q8_0 (tiny, kernel q8_0_gemm_avx512)" in text
    assert "Not measured:" in text
    assert "0.1785 USD an hour" in text
    assert max(map(len, text.splitlines())) <= 120
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recommended"]["values"]["cost_per_million"] > 0
    assert cli.main(["recommend", str(run), "--constraint", "memory_gb<0.001"]) == 1
    assert "none" in capsys.readouterr().out
    assert cli.main(["recommend", str(run), "--use-case", "chess"]) == 2
    assert "use case 'chess'" in capsys.readouterr().err


def test_nothing_valid_is_none_with_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_decided(tmp_path / "a", quality=False, status="failed", reason="it died")
    assert cli.main(["recommend", str(run), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["recommended"] is None
    assert len(found["others"]) == 6
    assert all("it died" in one["why"] for one in found["others"])


def test_compare_shows_who_keeps_the_constraints(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", str(run), "--constraint", "memory_gb<0.25"]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "kept by llamacpp-q4_k_m at 1 user and llamacpp-q4_k_m at 8 users" in text
    assert "missed by 60%" in text
    decided = text[text.index("speed-up") :]
    assert max(map(len, decided.splitlines()[1:])) <= 120
    assert cli.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["constraints"]["asked"] == ["memory_gb < 0.25"]
    assert found["decision"]["rows"]
