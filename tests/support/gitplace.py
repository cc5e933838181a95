"""A bare origin, the clone of an agent's machine, and somebody else who moves main; ``agentcom-git`` as a process."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.gitflow.starting import start
from sidecar.gitflow.values import Task
from support.repo import Clone, git_env, make_bare, make_repo

TASK = Task("t-k3m9q2xa", "Write the number 7", attempt=1)
TASK_JSON = json.dumps({"task_id": TASK.id, "title": TASK.title, "generation": 1})
BRANCH = "loash/t-k3m9q2xa-write-the-number-7"


@dataclass(frozen=True)
class Ended:
    """How a process of agentcom-git ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        (line,) = self.out.splitlines()
        value: dict[str, Any] = json.loads(line)
        return value


def command(at: Path, *argv: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
    """Run ``agentcom-git`` in a folder, as the agent loash."""
    done = subprocess.run(
        [sys.executable, "-m", "sidecar.gitflow.command", *argv],
        cwd=at,
        input=stdin.encode(),
        capture_output=True,
        env={**git_env(AGENTCOM_AGENT="loash", PYTHONSAFEPATH="1"), **(env or {})},
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


class Place:
    """An origin, the clone of an agent's machine, and somebody else who moves main."""

    def __init__(self, folder: Path) -> None:
        self.origin = make_bare(folder / "the origin.git")
        self.other = make_repo(folder / "other", {"a.txt": "one\n", "b.txt": "one\n"})
        self.other.git("remote", "add", "origin", str(self.origin))
        self.other.git("push", "--quiet", "origin", "main")
        self.other.git("clone", "--quiet", str(self.origin), str(folder / "höme clone"))
        self.clone = Clone(folder / "höme clone")

    def main_moves(self, **files: str) -> str:
        commit = self.other.commit({name.replace("_", "."): text for name, text in files.items()}, "elsewhere")
        self.other.git("push", "--quiet", "origin", "main")
        return commit

    def start(self, agent: str = "loash", task: Task = TASK) -> Clone:
        return Clone(start(task, self.clone.path, agent=agent).path)

    def tip(self, branch: str) -> str:
        return self.other.git("ls-remote", str(self.origin), f"refs/heads/{branch}").partition("\t")[0]
