"""Run by the harness's own interpreter: which tasks its names stand for, and how each is scored.

    python -I lm_eval_names.py '{"names": ["arc_easy"], "include": null}'

prints one JSON line: `tasks` (name → output_type, null where only code says it) of the tasks that
the names expand to, and `unknown` (name → near misses). Nothing is downloaded; quantswarm itself
is not imported, as it is not installed there.
"""

from __future__ import annotations

import difflib
import json
import sys
from typing import Any


def main() -> None:
    """Read the argument, print the answer."""
    import contextlib

    asked = json.loads(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        from lm_eval.tasks import TaskManager

        index = TaskManager(include_path=asked["include"]).task_index
    tasks: dict[str, Any] = {}
    unknown = {}
    for name in asked["names"]:
        if name in index:
            _expand(name, index, tasks)
        else:
            unknown[name] = difflib.get_close_matches(name, index, n=5)
    print(json.dumps({"tasks": tasks, "unknown": unknown}))


def _expand(name: str, index: dict[str, Any], into: dict[str, Any]) -> None:
    """A group's or tag's members, theirs, and so on; a task itself."""
    entry = index[name]
    kind = entry.kind.name
    if kind == "TAG":
        for member in sorted(entry.tags):
            _expand(member, index, into)
    elif kind == "GROUP":
        for member in _members(entry.cfg):
            if member in index and member != name:
                _expand(member, index, into)
            else:
                into[member] = None
    else:
        into[name] = (entry.cfg or {}).get("output_type")


def _members(config: dict[str, Any]) -> list[str]:
    listed = config.get("task") or []
    listed = [listed] if isinstance(listed, str) else listed
    return [
        one if isinstance(one, str) else str(one.get("task") or one.get("group")) for one in listed
    ]


if __name__ == "__main__":
    main()
