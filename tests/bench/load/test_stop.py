"""A stop before there is any load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from quantswarm.bench.load.crew import MODULE
from quantswarm.bench.load.plan import FACTS, SwarmPlan
from quantswarm.bench.load.scenario import Scenario


def test_a_stop_is_heeded_while_prompts_are_made(tmp_path: Path) -> None:
    plan = SwarmPlan(
        base_url="http://127.0.0.1:1/v1",
        served_name="m",
        scenario=Scenario(name="long", api="completions", prompt_tokens=8000, output_tokens=1),
        users=64,
        out_dir=tmp_path,
        duration_s=600.0,
    )
    (tmp_path / "plan.json").write_text(plan.dumps())
    reading, writing = os.pipe()
    command = [sys.executable, "-m", MODULE, str(tmp_path / "plan.json"), str(writing)]
    with subprocess.Popen(command, pass_fds=(writing,)) as process:
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as lines:
            assert json.loads(lines.readline())["phase"] == "preparing"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    facts = json.loads((tmp_path / FACTS).read_text())
    assert facts["interrupted"]
    assert facts["window"]["swarm_start_ns"] is None
    assert facts["harness"]["prompts_made"] < 1000  # of twenty thousand
