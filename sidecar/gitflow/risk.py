"""How much a reviewer should look: a tier by the files and lines that a diff touches.

Pure. The highest rule that a diff reaches decides.

    medium files=10 lines=200
    high files=50 lines=1000 paths=.github/*,migrations/*
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sidecar.gitflow.values import FileChange

TIERS = ("low", "medium", "high")
_WORD = re.compile(r"(files|lines)=(\d+)|(paths)=(\S+)")


@dataclass(frozen=True, slots=True)
class Rule:
    """``tier`` from so many ``files``, so many ``lines`` (None: never), or a file that one of ``paths`` fits."""

    tier: str
    files: int | None = None
    lines: int | None = None
    paths: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the rule as people write it."""
        bounds = {"files": self.files, "lines": self.lines, "paths": ",".join(self.paths) or None}
        return " ".join([self.tier, *(f"{name}={bound}" for name, bound in bounds.items() if bound is not None)])


DEFAULT = (Rule("medium", 10, 200), Rule("high", 50, 1000))


def read_rule(text: str) -> Rule:
    """Read one rule. Raises ValueError with what is wrong and what would be right."""
    tier, *words = text.split() or [""]
    numbers: dict[str, int] = {}
    paths: tuple[str, ...] = ()
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            break
        if match[1]:
            numbers[match[1]] = int(match[2])
        else:
            paths = tuple(part for part in match[4].split(",") if part)
    else:
        if tier in TIERS[1:] and words:
            return Rule(tier, numbers.get("files"), numbers.get("lines"), paths)
    raise ValueError(f"{text!r} is no rule; write e.g. `high files=50 lines=1000 paths=migrations/*`")


def tier(changes: Sequence[FileChange], rules: Sequence[Rule] = DEFAULT) -> str:
    """Return the tier of a diff; a file that is not text counts as no lines."""
    lines = sum((change.added or 0) + (change.removed or 0) for change in changes)
    reached = [rule.tier for rule in rules if _reaches(changes, lines, rule)]
    return max(reached, key=TIERS.index, default=TIERS[0])


def _reaches(changes: Sequence[FileChange], lines: int, rule: Rule) -> bool:
    return (
        (rule.files is not None and len(changes) >= rule.files)
        or (rule.lines is not None and lines >= rule.lines)
        or any(fnmatchcase(change.path, pattern) for change in changes for pattern in rule.paths)
    )
