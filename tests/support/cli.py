"""A command line that runs in this process: what it said, and with which code it ended."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from coordinator.cli import main


@dataclass(frozen=True)
class Said:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.out)
        return value


def call(capfd: pytest.CaptureFixture[str], *argv: str) -> Said:
    """Run ``agentcom`` with these words; what child processes print counts as well."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(argv)
    said = capfd.readouterr()
    return Said(int(ended.value.code or 0), said.out, said.err)
