import re
from pathlib import Path

import pytest

from quantswarm.bench.judge.remarks import CHECKS
from quantswarm.bench.report import definitions, gates

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


@pytest.mark.parametrize("part", ["formulas", "elsewhere", "minimums"])
def test_the_documentation_is_the_declarations(part: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(f"<!-- {part} -->\n(.*?)<!-- /{part} -->", text, flags=re.DOTALL)
    assert found is not None
    assert found[1] == getattr(definitions, part)()


def test_the_gates_page_is_the_declarations() -> None:
    text = (PAGE.parent / "gates.md").read_text(encoding="utf-8")
    assert f"<!-- gates -->\n{gates.table()}<!-- /gates -->" in text


def test_metric_names_are_unique_and_declared_in_full() -> None:
    names = [metric.name for metric in definitions.METRICS]
    assert len(names) == len(set(names))
    for metric in definitions.METRICS:
        assert metric.title
        assert metric.unit
        assert metric.formula
        assert metric.needs


def test_every_warning_is_documented() -> None:
    source = Path(CHECKS[0].__code__.co_filename).read_text(encoding="utf-8")
    named = set(re.findall(r'name="([a-z0-9-]+)"', source))
    documented = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(), flags=re.MULTILINE))
    assert len(named) >= 12
    assert named <= documented
