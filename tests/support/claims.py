"""What must be true of every problem that a reader reports, whatever the file."""

import re
from collections.abc import Iterable

from coordinator.files.problem import Problem

LINE_END = re.compile("\r\n|\r|\n")


def problems_are_sound(problems: Iterable[Problem], path: str, data: bytes) -> None:
    """Fail unless each problem is one clear line whose place lies in the file."""
    lines = LINE_END.split(data.decode("utf-8", "replace").removeprefix("\ufeff"))
    problems = tuple(problems)
    assert problems
    for problem in problems:
        said = str(problem)
        assert problem.path == path
        assert problem.what
        assert len(said.splitlines()) == 1, "one line"
        assert said.encode(), "that can be shown"
        assert len(said) < 1_000
        assert 0 <= problem.line <= len(lines), f"{said}: there are {len(lines)} lines"
        if problem.line:
            width = len(lines[problem.line - 1])
            assert 0 <= problem.column <= width + 1, f"{said}: line {problem.line} has {width} characters"
        else:
            assert not problem.column
