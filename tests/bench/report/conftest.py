import sys
from pathlib import Path
from typing import Any

import pytest

# The generator of run directories lives beside the tests of judging.
sys.path.insert(0, str(Path(__file__).parents[1] / "judge"))

import made_run

from quantswarm.bench import report
from quantswarm.bench.judge.summary import summarise


@pytest.fixture(scope="session")
def showcase(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written-out run: 5 variants at 1 and 8 users, one cell failed, one invalid, warnings."""
    run_dir = made_run.write_showcase(tmp_path_factory.mktemp("runs") / "showcase")
    report.write_all(run_dir)
    return run_dir


@pytest.fixture(scope="session")
def summary(showcase: Path) -> dict[str, Any]:
    return summarise(showcase)
