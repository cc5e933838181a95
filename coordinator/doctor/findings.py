"""What an examination finds: plain values. ``bad`` keeps work from being done, ``warn`` may do so soon."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class Cure(StrEnum):
    """What may be done about a finding without asking: nothing of a person's is changed by it, nothing is lost."""

    CLOSE_SECRETS = "close_secrets"
    FORGET_DEAD_HUB = "forget_dead_hub"
    SET_UP_GIT = "set_up_git"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it stands, and what to do when that is not well."""

    check: str
    level: Level
    text: str
    advice: str = ""
    cure: Cure | None = None

    def json(self) -> dict[str, Any]:
        """Return it as an object of ``--json``."""
        return {
            "check": self.check,
            "level": str(self.level),
            "text": self.text,
            "advice": self.advice or None,
            "fixable": self.cure is not None,
        }


def ok(check: str, text: str) -> Finding:
    """Return that something is well."""
    return Finding(check, Level.OK, text)


def warn(check: str, text: str, advice: str, cure: Cure | None = None) -> Finding:
    """Return that something should be looked at."""
    return Finding(check, Level.WARN, text, advice, cure)


def bad(check: str, text: str, advice: str, cure: Cure | None = None) -> Finding:
    """Return that something keeps work from being done."""
    return Finding(check, Level.BAD, text, advice, cure)


def is_well(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing is bad."""
    return all(finding.level is not Level.BAD for finding in findings)
