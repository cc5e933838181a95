"""``agentcom agent add`` is killed inside each of its eight steps, or its disk fills up; the next run ends it well."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support import deadlyadd, fakesystemctl
from support.crashes import wait_until
from support.deadlyadd import MOMENTS, REPO_MOMENTS
from support.disks import small_disk
from support.hubprocess import HubProcess
from support.repo import Clone, git_env, make_repo

#: One that loses an answer and one that leaves half a service; the others are for `make crash`.
_ALWAYS = ("register: answered", "service: unit written")


@dataclass
class Room:
    """A hub, and the home in which the command is typed."""

    clone: Clone
    hub: HubProcess
    home: Path
    folder: Path

    def add(self, moment: str, *where: str) -> subprocess.CompletedProcess[str]:
        """Add the agent ``new``, up to a moment or to the end."""
        env = {
            **git_env(),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "AGENTCOM_TOKEN": self.hub.token,
            "PATH": f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }
        fixed = ("add", "new", "--runtime", "fake", "--install", "--dir", str(self.folder))
        argv = [sys.executable, str(Path(deadlyadd.__file__)), moment, str(self.home), *fixed]
        argv += where or ("--hub", self.hub.url)
        return subprocess.run(argv, cwd=self.home, env=env, capture_output=True, text=True, check=False)

    def all_is_there_once(self, tokens_of: str) -> None:
        """One agent, one token that opens, one service that runs, one task that is done, nothing left over."""
        assert [one["agent_id"] for one in self.hub.client.get("/api/agents")["agents"]] == ["new"]
        token = str(yaml.safe_load((self.folder / "config.yaml").read_text())["token"])
        (open_token,) = self.hub.client.get("/admin/tokens")["tokens"]
        assert token.startswith(open_token["token_prefix"])
        assert (open_token["where"], open_token["not_after"]) == (tokens_of, None)
        (unit,) = (self.home / "config/systemd/user").iterdir()
        assert fakesystemctl.alive(self.home / f"bin/{unit.name}.pid") is not None
        tasks = self.hub.client.get("/api/tasks")["tasks"]
        assert [(task["assignee"], task["status"], task["generation"]) for task in tasks] == [("new", "done", 1)]
        over = [path.name for path in self.folder.iterdir() if path.name.startswith((".probe", "asked"))]
        assert over == []


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    clone = make_repo(tmp_path / "repo", {"BACKLOG.md": "# Backlog\n"})
    home = tmp_path / "home"
    home.mkdir()
    with HubProcess(clone.path) as hub, fakesystemctl.services_in(home / "bin"):
        assert hub.ready, hub.said
        yield Room(clone, hub, home, home / "new")


@pytest.mark.parametrize(
    "moment",
    [pytest.param(one, marks=pytest.mark.slow if one in _ALWAYS else pytest.mark.crash) for one in MOMENTS],
)
def test_an_agent_whose_adding_is_killed_at_any_moment_is_added_once_by_the_next_run(room: Room, moment: str) -> None:
    killed = room.add(moment)
    assert killed.returncode == -9, killed.stdout + killed.stderr
    again = room.add("nothing")
    assert again.returncode == 0, again.stderr
    assert "[8/8] test task: " in again.stdout
    room.all_is_there_once("status/agents/new.yaml")


@pytest.mark.crash
@pytest.mark.parametrize("moment", REPO_MOMENTS)
def test_a_commit_is_made_once_also_when_the_adding_is_killed_beside_it(room: Room, moment: str) -> None:
    assert room.add(moment, "--repo", str(room.clone.path)).returncode == -9
    again = room.add("nothing", "--repo", str(room.clone.path))
    assert again.returncode == 0, again.stderr
    room.all_is_there_once("agents/new.yaml")
    assert room.clone.git("log", "--format=%s", "--", "agents").splitlines() == ["Add agent new"]


@pytest.mark.slow
def test_a_disk_that_fills_up_after_the_registration_costs_no_token(room: Room, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "220m") as disk:
        room.folder = disk / "new"
        full = room.add("full")
        assert (full.returncode, "make room, then run this again" in full.stderr) == (1, True), full.stderr
        assert not (room.folder / "config.yaml").exists()
        (room.folder / deadlyadd.FILLER).unlink()
        again = room.add("nothing")
        assert again.returncode == 0, again.stderr
        room.all_is_there_once("status/agents/new.yaml")
        fakesystemctl.stop_all(room.home / "bin")
        wait_until(lambda: not list((room.home / "bin").glob("*.pid")), "the end of the service")
