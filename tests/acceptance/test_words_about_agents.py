"""``agentcom agent show|enable|disable|drain|remove|rotate-token``: a real hub, a real sidecar, a person's clone."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support import fakesystemctl
from support.crashes import wait_until
from support.hubprocess import HubProcess
from support.repo import Clone, git_env, make_repo

from coordinator.reading import HubClient, TokenRefused

pytestmark = pytest.mark.slow

#: The command line on a machine that seems to be run by systemd.
_MACHINE = (
    "import sys; from pathlib import Path; from coordinator.services import machine;"
    "machine.BOOTED = Path(sys.argv.pop(1)); from coordinator.cli import main; main(sys.argv[1:])"
)
FILE = "# our best\nname: Loash  # since May\nrole: agent\n"


@dataclass
class Room:
    """A person's clone with its hub, and a home in which services are installed."""

    clone: Clone
    hub: HubProcess
    home: Path

    def run(self, *argv: str, stdin: str = "", cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        said = {
            **git_env(),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "PATH": f"{self.home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **env,
        }
        command = [sys.executable, "-c", _MACHINE, str(self.home), "agent", *argv]
        where = cwd or self.clone.path
        return subprocess.run(command, cwd=where, env=said, input=stdin, capture_output=True, text=True, check=False)

    def ok(self, *argv: str, **more: str) -> str:
        done = self.run(*argv, **more)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shown(self, agent: str) -> dict:
        found = self.hub.client.get("/api/agents")["agents"]
        return next((one for one in found if one["agent_id"] == agent), {})

    def until_flags(self, agent: str, *flags: str) -> None:
        wait_until(lambda: self.shown(agent).get("flags") == list(flags), f"{agent} with {flags}")

    def config(self, agent: str) -> Path:
        return self.home / "data/agentcom/agents" / agent / "config.yaml"

    def installed(self, *more: str) -> None:
        """Add the agent ``new`` with a service of its sidecar."""
        self.ok("add", "new", "--hub", self.hub.url, "--runtime", "fake", "--install", *more)

    def opens(self, agent: str, token: str) -> bool:
        try:
            return HubClient(self.hub.url, token).call("GET", f"/api/mailbox/{agent}?since=0")[0] == 200
        except TokenRefused:
            return False

    def systemctl(self, *words: str) -> None:
        env = {**git_env(), "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config")}
        subprocess.run([self.home / "bin/systemctl", "--user", *words], env=env, check=True)

    def service(self, agent: str) -> int | None:
        return fakesystemctl.alive(self.home / f"bin/agentcom-sidecar-{agent}.service.pid")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    clone = make_repo(tmp_path / "repo", {"BACKLOG.md": "# Backlog\n"})
    home = tmp_path / "home"
    home.mkdir()
    with HubProcess(clone.path) as hub, fakesystemctl.services_in(home / "bin"):
        assert hub.ready, hub.said
        yield Room(clone, hub, home)


def token_of(room: Room, agent: str) -> str:
    return str(yaml.safe_load(room.config(agent).read_text())["token"])


def test_a_file_is_switched_by_a_commit_that_leaves_comments_and_staged_work_alone(room: Room) -> None:
    room.clone.commit({"agents/loash.yaml": FILE})
    room.clone.write({"mine.txt": "mine\n"})
    room.clone.git("add", "mine.txt")
    wait_until(lambda: bool(room.shown("loash")), "the agent")
    assert "would commit agents/loash.yaml" in room.ok("disable", "loash", "--dry-run")
    said = json.loads(room.ok("disable", "loash", "--json"))
    assert (said["how"], said["changed"], said["commit"]) == ("git", True, room.clone.head())
    assert room.clone.show("agents/loash.yaml") == FILE + "disabled: true\n"
    assert room.clone.git("log", "-1", "--format=%an %s") == "Ada Lovelace Disable agent loash"
    assert room.clone.git("status", "--porcelain") == "A  mine.txt"
    room.until_flags("loash", "disabled")
    assert "disabled (agents/loash.yaml)" in room.ok("list")
    assert "nothing to do" in room.ok("disable", "loash")
    room.ok("enable", "loash")
    assert room.clone.show("agents/loash.yaml") == FILE
    room.until_flags("loash")
    there = room.run("disable", "loash", "--hub", room.hub.url)
    assert (there.returncode, "agents/loash.yaml says what loash is" in there.stderr) == (1, True)


def test_an_agent_of_the_hub_is_switched_and_removed_there_and_survives_a_restart_of_the_hub(room: Room) -> None:
    room.hub.client.call("POST", "/admin/tokens", {"agent_id": "made"})
    room.ok("disable", "made")
    room.hub.stop()
    room.hub.start()
    assert room.shown("made")["flags"] == ["disabled"]
    room.ok("enable", "made", "--hub", room.hub.url)
    assert room.shown("made")["flags"] == []
    unsure = room.run("remove", "made")
    assert (unsure.returncode, "--yes is needed" in unsure.stderr) == (64, True)
    room.ok("remove", "made", "--yes")
    assert room.shown("made") == {}
    again = room.run("remove", "made", "--yes")
    assert (again.returncode, again.stderr) == (1, "agentcom: the hub knows no agent made: see `agentcom agent list`\n")


def test_words_about_nobody_by_nobody_and_to_nobody_are_one_line_each(room: Room) -> None:
    room.clone.commit({"agents/loash.yaml": FILE})
    for words in (
        ("show", "hub"),
        ("disable", "gcu"),
        ("enable", "no/body"),
        ("rotate-token", "gcu"),
        ("drain", "gcu"),
    ):
        said = room.run(*words)
        assert (said.returncode, said.stdout, said.stderr.count("\n")) == (1, "", 1), words
        assert "knows no agent" in said.stderr
    wrong = room.run("disable", "loash", "--hub", room.hub.url, AGENTCOM_TOKEN="ac_wrong")
    assert (wrong.returncode, "refuses this token" in wrong.stderr) == (77, True)
    nowhere = room.run("disable", "loash", cwd=room.home)
    assert (nowhere.returncode, "is not inside a git repository" in nowhere.stderr) == (66, True)
    room.clone.write({"agents/loash.yaml": FILE + "x-mine: 1\n"})
    for words in (("disable", "loash"), ("rotate-token", "loash"), ("remove", "loash", "--yes")):
        dirty = room.run(*words)
        assert (dirty.returncode, "has edits that are not committed" in dirty.stderr) == (1, True), words
    assert (room.clone.path / "agents/loash.yaml").read_text() == FILE + "x-mine: 1\n"
    room.clone.git("checkout", "--", "agents/loash.yaml")
    room.hub.stop()
    down = room.run("drain", "loash")
    assert (down.returncode, down.stderr.count("\n")) == (69, 1)
    assert "no hub answers; agentcom/state as of" in room.ok("disable", "loash")


def test_a_token_that_the_hub_made_is_rotated_and_the_idle_service_starts_again_with_it(room: Room) -> None:
    room.installed()
    old, pid = token_of(room, "new"), room.service("new")
    text = room.config("new").read_text()
    room.config("new").write_text(f"# mine\n{text}")
    said = json.loads(room.ok("rotate-token", "new", "--grace", "1h", "--json"))
    new = token_of(room, "new")
    assert (said["how"], said["token"], said["token_in"]) == ("hub", None, str(room.config("new")))
    assert room.config("new").read_text() == f"# mine\n{text}".replace(old, new)
    assert room.config("new").stat().st_mode & 0o777 == 0o600
    assert room.opens("new", old)
    assert room.opens("new", new)
    assert room.service("new") not in (None, pid)
    wait_until(lambda: room.shown("new")["status"] == "online", "the sidecar with its new token")
    assert not room.config("new").with_name("rotating.json").exists()


def test_a_token_whose_hash_stands_in_a_file_is_rotated_by_a_commit_and_the_old_one_ends_as_said(room: Room) -> None:
    old = room.ok("add", "loash").split("hash): ")[1].split()[0]
    wait_until(lambda: room.opens("loash", old), "the first token")
    said = room.ok("rotate-token", "loash", "--grace", "2s", "--token-file", str(room.home / "token"))
    new = (room.home / "token").read_text().strip()
    assert new not in said
    assert (room.home / "token").stat().st_mode & 0o777 == 0o600
    assert room.clone.git("log", "-1", "--format=%s") == "Rotate the token of agent loash"
    assert hashlib.sha256(new.encode()).hexdigest() in room.clone.show("agents/loash.yaml")
    wait_until(lambda: room.opens("loash", new), "the second token")
    wait_until(lambda: not room.opens("loash", old), "the end of the first")
    taken = room.run("rotate-token", "loash", "--token-file", str(room.home / "token"))
    assert (taken.returncode, "is there already" in taken.stderr) == (64, True)
    room.ok("rotate-token", "loash", "--token-stdin", stdin="ac_" + "mine" * 10)
    wait_until(lambda: room.opens("loash", "ac_" + "mine" * 10), "a token of the person's own")


def test_an_answer_that_was_lost_is_got_by_the_next_rotation_and_no_third_token_ends_the_first(room: Room) -> None:
    room.installed()
    old = token_of(room, "new")
    key = "k" * 32
    room.config("new").with_name("rotating.json").write_text(json.dumps({"key": key}))
    headers = {"Idempotency-Key": key}
    lost = room.hub.client.call("POST", "/admin/tokens", {"agent_id": "new", "grace": "1h"}, headers)[1]["token"]
    room.ok("rotate-token", "new", "--grace", "1h")
    assert (token_of(room, "new"), room.opens("new", old)) == (lost, True)
    room.config("new").write_text(room.config("new").read_text().replace(lost, old))
    third = room.run("rotate-token", "new")
    assert (third.returncode, "would end at once" in third.stderr) == (1, True)
    assert room.opens("new", old)


def test_an_agent_with_work_in_hand_is_spared_until_now_is_said_and_nothing_that_it_wrote_is_deleted(
    room: Room,
) -> None:
    room.installed()
    text = room.config("new").read_text()
    hangs = text.replace('{name: "fake", profile: dev}', "{name: fake, script: [hang, hang, hang]}\nstop_grace: 500ms")
    assert hangs != text
    room.config("new").write_text(hangs)
    room.systemctl("restart", "agentcom-sidecar-new.service")
    room.clone.commit({"tasks/t-1.yaml": "title: for new\nassignee: new\n"})
    task = "t-1"
    wait_until(lambda: room.hub.client.get("/api/tasks/t-1").get("status") == "working", "work in hand")
    drained = room.ok("drain", "new")
    assert f"{task} is in its hands: it is finished first" in drained
    assert f"{task} is in its hands: start agentcom-sidecar-new again" in room.ok("rotate-token", "new")
    refused = room.run("remove", "new", "--yes")
    assert (refused.returncode, f"{task} in new's hands" in refused.stderr) == (1, True)
    assert room.service("new") is not None
    assert "would be stopped" in room.ok("remove", "new", "--dry-run")
    said = room.ok("remove", "new", "--yes", "--now")
    assert "agentcom-sidecar-new: stopped and removed" in said
    assert room.service("new") is None
    assert not (room.home / "config/systemd/user/agentcom-sidecar-new.service").exists()
    assert room.config("new").exists()
    assert (room.shown("new"), room.hub.client.get(f"/api/tasks/{task}")["status"]) == ({}, "queued")


def test_a_removal_that_ended_half_way_is_ended_by_the_next_one(room: Room) -> None:
    room.installed()
    room.hub.client.call("DELETE", "/api/agents/new")
    assert "agentcom-sidecar-new: stopped and removed" in room.ok("remove", "new", "--yes")
    assert room.service("new") is None
    assert room.config("new").exists()
    again = room.run("remove", "new", "--yes")
    assert (again.returncode, "knows no agent new" in again.stderr) == (1, True)
