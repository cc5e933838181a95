"""docs/how-to/team-on-github.md, followed with a bare repository that refuses what the page's rule sets refuse."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.repo import git_env, make_bare
from support.waiting import SOON, until

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/team-on-github.md"
FORGE = "git@github.com:TEAM/PROJECT.git"
#: Who may push where, as the two rule sets say it; WHO is the deploy key or a person.
RULES = """\
#!/bin/sh
case "$1" in
refs/heads/agentcom/*) [ "$WHO" = hub ] || { echo "only deploy keys write $1" >&2; exit 1; } ;;
refs/heads/main) [ "$WHO" = merge ] || { echo "$1 takes pull requests" >&2; exit 1; } ;;
esac
"""


def commands() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Team:
    """The forge, a person's clone of it, and the machine of the hub."""

    def __init__(self, folder: Path) -> None:
        self.forge = make_bare(folder / "forge.git")
        self.person, self.machine = folder / "person", folder / "machine"
        self.machine.mkdir()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**git_env(), "PATH": path}
        for who in ("AUTHOR", "COMMITTER"):
            self.env |= {f"GIT_{who}_NAME": "Ada", f"GIT_{who}_EMAIL": "ada@example.org"}
        self.types(f"git clone --quiet {self.forge} {self.person}", folder)

    def protect(self) -> None:
        rules = self.forge / "hooks/update"
        rules.write_text(RULES)
        rules.chmod(0o755)

    def types(self, block: str, where: Path, who: str = "person", refused: bool = False) -> str:
        """Run a block; return what it printed."""
        script = block.replace(FORGE, str(self.forge))
        argv = ["bash", "-ec", script]
        done = subprocess.run(
            argv, cwd=where, env={**self.env, "WHO": who}, capture_output=True, text=True, timeout=SOON
        )
        assert (done.returncode != 0) == refused, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def has(self, branch: str) -> bool:
        return bool(self.types(f"git ls-remote {self.forge} refs/heads/{branch}", self.machine).strip())


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path)


@pytest.fixture
def hub(team: Team) -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 0


def test_the_commands_of_the_page_bring_a_team_a_hub_that_alone_writes_its_branch(
    team: Team, hub: list[subprocess.Popen[bytes]]
) -> None:
    equip, key, start, secret, new = commands()

    team.types(equip, team.person)
    assert team.types("git ls-remote origin main", team.person).split()[0] == (
        team.types("git log -1 --format=%H", team.person).strip()
    )

    if shutil.which("ssh-keygen"):
        assert team.types(key, team.machine).startswith("ssh-ed25519 ")
        assert (team.machine / "agentcom-hub").stat().st_mode & 0o077 == 0

    team.protect()
    probe = "git push origin HEAD:refs/heads/agentcom/probe"
    assert "only deploy keys" in team.types(probe, team.person, refused=True)

    words = [*start.split(), "--listen", "127.0.0.1:0"]
    argv = [str(team.forge) if word == FORGE else word for word in words]
    hub.append(subprocess.Popen(argv, cwd=team.machine, env={**team.env, "WHO": "hub"}, stdout=subprocess.DEVNULL))
    until(lambda: team.has("agentcom/state"))

    clone = team.machine / "project"
    assert "hook" in team.types(secret, clone).lower()

    team.types(new, team.person)
    assert "pull requests" in team.types("git push origin main", team.person, refused=True)
    team.types("agentcom validate && git push origin main", team.person, who="merge")
    team.types("agentcom reconcile", clone)
    (task,) = json.loads(team.types("agentcom task list --json", clone))["tasks"]
    assert task["title"] == "Add a health route"
    assert "review: required" in next((team.person / "tasks").glob("t-*.yaml")).read_text()
    assert not json.loads(team.types("agentcom status --json", clone))["problems"]
