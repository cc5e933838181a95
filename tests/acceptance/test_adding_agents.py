"""``agentcom agent add --hub`` and ``--repo``: from nothing to a task that is done, and through every failure.

Real hub, real sidecar, the scripted runtime.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from support import fakesystemctl
from support.hubprocess import HubProcess
from support.repo import Clone, git_env, make_repo
from support.screens import AGENTCOM, on_screen

from coordinator.reading import HubClient
from coordinator.services.values import mark_of

pytestmark = pytest.mark.slow


@dataclass
class Room:
    """A hub's clone, and the home of somebody who adds agents from elsewhere."""

    clone: Clone
    hub: HubProcess
    home: Path

    @property
    def config(self) -> Path:
        return self.home / "new/config.yaml"

    def run(self, *argv: str, token: str | None = "", stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Type ``agentcom`` in the home; ``token`` is the admin's unless another is given, None for none."""
        said = {**git_env(), "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), **env}
        if token is not None:
            said["AGENTCOM_TOKEN"] = token or self.hub.token
        command = [sys.executable, "-P", "-m", "coordinator", *argv]
        return subprocess.run(
            command, cwd=self.home, env=said, input=stdin, capture_output=True, text=True, check=False
        )

    def add(self, *more: str, token: str | None = "", stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        where = () if {"--hub", "--repo"} & set(more) else ("--hub", self.hub.url)
        fixed = ("agent", "add", "new", "--runtime", "fake", "--dir", str(self.home / "new"))
        return self.run(*fixed, *where, *more, token=token, stdin=stdin, **env)

    def sidecar(self) -> subprocess.Popen[bytes]:
        argv = (sys.executable, "-P", "-m", "sidecar", "run", "--config", str(self.config))
        return subprocess.Popen(argv, stderr=subprocess.DEVNULL, env=git_env())


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    clone = make_repo(tmp_path / "repo", {"BACKLOG.md": "# Backlog\n"})
    home = tmp_path / "home"
    home.mkdir()
    with HubProcess(clone.path) as hub:
        assert hub.ready, hub.said
        yield Room(clone, hub, home)


def test_an_agent_is_added_by_an_address_in_two_calls_and_does_its_task(room: Room) -> None:
    first = room.add("--capabilities", "python,docs")
    assert first.returncode == 0, first.stderr
    assert "[8/8] test task:" in first.stdout
    assert "agentcom-sidecar run --config" in first.stdout
    assert room.config.stat().st_mode & 0o777 == 0o600
    token = next(line for line in room.config.read_text().splitlines() if line.startswith("token: ")).split('"')[1]
    assert token not in first.stdout + first.stderr
    sidecar = room.sidecar()
    try:
        until_state(room, "offline")
        again = room.add("--json", token=None)
    finally:
        sidecar.terminate()
        sidecar.wait(30)
    assert again.returncode == 0, again.stderr
    said = json.loads(again.stdout)
    assert (said["agent_id"], said["token"], said["running"]) == ("new", token, True)
    assert "is done" in again.stderr
    task = room.hub.client.get(f"/api/tasks/{said['task_id']}")
    assert (task["status"], task["assignee"]) == ("done", "new")
    assert said["dashboard"] == f"{room.hub.url}/dashboard/agent/new"
    assert requests.get(said["dashboard"], timeout=10).status_code == 200
    assert room.hub.client.get("/api/tasks")["count"] == 1


def test_on_a_terminal_each_step_shows_that_it_goes_on_and_leaves_one_line(room: Room) -> None:
    env = {"HOME": str(room.home), "XDG_CONFIG_HOME": str(room.home / "config"), "AGENTCOM_TOKEN": room.hub.token}
    words = ("agent", "add", "new", "--runtime", "fake", "--dir", str(room.home / "new"), "--hub", room.hub.url)
    seen = on_screen((*AGENTCOM, *words), 60, room.home, env)
    assert seen.code == 0, seen.text
    assert "[7/8] wake round trip: the agent does a small task ..." in seen.text
    assert [line[:5] for line in seen.left if line.startswith("[")] == [f"[{step}/8]" for step in range(1, 9)]


def until_state(room: Room, other_than: str) -> None:
    ready = threading.Event()
    for _ in range(600):
        if room.hub.client.get("/api/agents/new/state")["fsm_state"] != other_than:
            return
        ready.wait(0.1)
    raise AssertionError(f"still {other_than}")


def test_a_service_manager_runs_it_and_the_whole_is_one_command(room: Room, tmp_path: Path) -> None:
    noted = fakesystemctl.put_on_path(tmp_path / "bin")
    (tmp_path / "booted").mkdir()
    code = (
        "import sys; from pathlib import Path; from coordinator.services import machine;"
        f"machine.BOOTED = Path({str(tmp_path / 'booted')!r});"
        "from coordinator.cli import main; main(sys.argv[1:])"
    )
    env = {
        **git_env(),
        "HOME": str(room.home),
        "XDG_CONFIG_HOME": str(room.home / "config"),
        "AGENTCOM_TOKEN": room.hub.token,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    words = (
        "agent",
        "add",
        "new",
        "--hub",
        room.hub.url,
        "--runtime",
        "fake",
        "--install",
        "--dir",
        str(room.home / "new"),
    )
    try:
        runs = [
            subprocess.run([sys.executable, "-c", code, *words], env=env, capture_output=True, text=True, check=False)
            for _ in range(2)
        ]
    finally:
        fakesystemctl.stop_all(noted.parent)
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    assert "agentcom-sidecar-new installed and started" in runs[0].stdout
    assert "runs already" in runs[1].stdout
    assert all("is done" in run.stdout for run in runs)
    assert room.hub.client.get("/api/tasks")["count"] == 1


def test_in_a_clone_it_is_a_commit_of_the_person_and_the_rest_is_the_same(room: Room) -> None:
    said = room.add("--repo", str(room.clone.path), "--show-token", token=None)
    assert said.returncode == 0, said.stderr
    assert room.clone.git("log", "-1", "--format=%an %s") == "Ada Lovelace Add agent new"
    assert "token: ac_" in said.stdout
    again = room.add("--repo", str(room.clone.path), token=None)
    assert again.returncode == 0, again.stderr
    assert "the file in the clone is of this token" in again.stdout
    room.config.write_text(room.config.read_text().replace("ac_", "ac_other"))
    other = room.add("--repo", str(room.clone.path), token=None)
    assert (other.returncode, "is there with other tokens" in other.stderr) == (1, True)


def test_an_invite_is_enough_and_good_once(room: Room) -> None:
    invite = json.loads(room.run("invite", "--for", "new", "--expires", "1h", "--hub", room.hub.url, "--json").stdout)
    said = room.add(token=invite["invite"])
    assert said.returncode == 0, said.stderr
    assert "[8/8] test task: t-" in said.stdout
    room.config.unlink()
    assert room.add(token=invite["invite"]).returncode == 77


def test_a_dry_run_says_it_all_and_writes_nothing(room: Room) -> None:
    said = room.add("--dry-run", "--install")
    assert said.returncode == 0, said.stderr
    assert "would install agentcom-sidecar-new" in said.stdout
    assert not room.config.parent.exists()
    assert room.hub.client.get("/api/agents")["agents"] == []


def test_an_id_that_is_taken_stays_who_it_is_also_when_asked_twice(room: Room) -> None:
    token = room.hub.client.call("POST", "/api/onboard/register", {"agent_id": "new"})[1]["token"]
    for _ in range(2):
        said = room.add()
        assert (said.returncode, "does not register new" in said.stderr) == (1, True)
        assert not room.config.exists()
    took = room.add("--token-stdin", stdin=token)
    assert took.returncode == 0, took.stderr
    assert token in room.config.read_text()


def test_a_wrong_token_and_a_hub_that_is_down_leave_nothing_behind(room: Room) -> None:
    wrong = room.add(token="ac_wrong")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (77, 1)
    foreign = room.add("--token-stdin", stdin="ac_not-of-anybody")
    assert (foreign.returncode, room.config.exists()) == (77, False)
    room.hub.stop()
    down = room.add(token="x")
    assert (down.returncode, "no hub answers" in down.stderr) == (69, True)
    room.hub.start()
    assert room.add().returncode == 0


def test_what_was_asked_and_not_answered_is_got_by_the_next_run(room: Room) -> None:
    key = "a" * 32
    room.config.parent.mkdir()
    (room.config.parent / "asked.json").write_text(json.dumps({"key": key}))
    headers = {"Idempotency-Key": key}
    token = room.hub.client.call("POST", "/api/onboard/register", {"agent_id": "new"}, headers)[1]["token"]
    said = room.add("--show-token")
    assert said.returncode == 0, said.stderr
    assert f"token: {token}" in said.stdout


def test_an_answer_that_was_lost_for_good_is_replaced_by_a_new_token(room: Room) -> None:
    room.config.parent.mkdir()
    (room.config.parent / "asked.json").write_text(json.dumps({"key": "b" * 32}))
    lost = room.hub.client.call("POST", "/api/onboard/register", {"agent_id": "new"})[1]["token"]
    said = room.add()
    assert said.returncode == 0, said.stderr
    assert lost not in room.config.read_text()


def test_the_token_of_an_agent_that_has_worked_is_never_replaced_also_by_a_hub_that_began_anew(room: Room) -> None:
    assert room.add().returncode == 0
    text = room.config.read_text()
    token = next(line for line in text.splitlines() if line.startswith("token: ")).split('"')[1]
    sidecar = room.sidecar()
    try:
        until_state(room, "offline")
        assert room.add().returncode == 0
    finally:
        sidecar.terminate()
        sidecar.wait(30)
    room.hub.stop()
    room.hub.start()
    room.config.unlink()
    (room.config.parent / "asked.json").write_text(json.dumps({"key": "c" * 32}))
    said = room.add()
    assert said.returncode != 0
    assert "does not register new" in said.stderr
    assert HubClient(room.hub.url, token).get("/api/agents")["agents"], "its token still opens the door"


def test_no_git_no_room_and_a_runtime_that_is_not_there_stop_it_before_anything_is_asked(
    room: Room, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    no_git = room.add(PATH=str(tmp_path / "empty"))
    assert (no_git.returncode, "git is not on PATH" in no_git.stderr) == (1, True)
    no_runtime = room.run("agent", "add", "new", "--runtime", "nonesuch", "--hub", room.hub.url)
    assert (no_runtime.returncode, "known are" in no_runtime.stderr) == (64, True)
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", sys.executable, "-P", "-m", "coordinator"]
    words = ["agent", "add", "new", "--hub", room.hub.url, "--runtime", "fake", "--dir", str(room.home / "new")]
    env = {**git_env(), "HOME": str(room.home), "AGENTCOM_TOKEN": room.hub.token, "PYTHONDONTWRITEBYTECODE": "1"}
    full = subprocess.run([*limited, *words], env=env, capture_output=True, text=True, check=False)
    assert (full.returncode, "make room" in full.stderr) == (1, True), full.stderr
    assert room.hub.client.get("/api/agents")["agents"] == []
    assert room.add().returncode == 0


def test_a_runtime_that_is_not_logged_in_stops_it_before_anything_is_asked(room: Room, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "claude"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    said = room.run("agent", "add", "new", "--hub", room.hub.url, "--dir", str(room.home / "new"), PATH=path)
    assert (said.returncode, "exited with 1" in said.stderr) == (78, True), said.stderr
    assert room.hub.client.get("/api/agents")["agents"] == []


def test_identities_that_do_not_agree_stop_it(room: Room) -> None:
    assert room.add().returncode == 0
    text = room.config.read_text()
    room.config.write_text(text.replace('agent_id: "new"', 'agent_id: "other"'))
    assert "is of agent other, not new" in room.add().stderr
    room.config.write_text(text.replace("ws://127.0.0.1", "ws://192.0.2.1"))
    assert "is for the hub at http://192.0.2.1" in room.add().stderr
    room.config.write_text(text)
    assert "holds another token" in room.add("--token-stdin", stdin="ac_else").stderr
    unit = room.home / "config/systemd/user/agentcom-sidecar-new.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"# {mark_of(room.home / 'elsewhere.yaml')}\n")
    room.config.unlink()
    assert "is a service of that name for another config file" in room.add().stderr


def test_a_clock_that_is_off_is_said_before_anything_is_asked(room: Room) -> None:
    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.send_header("Date", "Wed, 01 Jan 2025 00:00:00 GMT")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = room.add("--hub", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert (said.returncode, "set both by NTP" in said.stderr) == (1, True), said.stderr


def test_an_invite_for_somebody_else_is_named_with_the_one_that_is_needed(room: Room) -> None:
    made = room.run("invite", "--for", "other", "--hub", room.hub.url, "--json")
    said = room.add(token=json.loads(made.stdout)["invite"])
    assert said.returncode == 77
    assert said.stderr.splitlines()[-1] == (
        f"agentcom: [3/8] register: {room.hub.url} does not allow that: this invite is for other; set AGENTCOM_TOKEN "
        "to an invite for new (`agentcom invite --for new` in the hub's clone), or to the admin's token "
        "(.git/agentcom/admin.token there)"
    )


def test_another_runtime_than_the_config_has_is_refused_and_not_passed_over(room: Room) -> None:
    assert room.add().returncode == 0
    said = room.add("--runtime", "claude")
    assert said.returncode == 64
    assert said.stderr.splitlines()[-1] == (
        f"agentcom: [1/8] preflight: {room.config} has runtime fake, not claude: change it there, "
        "or leave --runtime away"
    )


def test_an_address_without_a_hub_is_told_with_what_to_look_at(room: Room) -> None:
    said = room.add("--hub", "http://127.0.0.1:9")
    assert said.returncode == 69
    assert said.stderr.endswith("start it there with `agentcom hub`, or correct the address\n")


def test_the_script_makes_an_id_of_the_name_and_suggests_names_without_one(room: Room) -> None:
    script = Path(__file__).parents[2] / "scripts/add-agent.sh"
    env = {**git_env(), "HOME": str(room.home), "AGENTCOM_TOKEN": room.hub.token}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([script, *words], env=env, capture_output=True, text=True, check=False)

    said = call("--name", "Loash the Second", "--hub", room.hub.url, "--runtime", "fake")
    assert said.returncode == 0, said.stderr
    agents = room.hub.client.get("/api/agents")["agents"]
    assert [(one["agent_id"], one["name"]) for one in agents] == [("loash-the-second", "Loash the Second")]
    none = call("--hub", room.hub.url)
    assert (none.returncode, "for example" in none.stderr) == (64, True)
    nowhere = call("--name", "Loash")
    assert (nowhere.returncode, "--hub http://HOST:4000 or --repo CLONE" in nowhere.stderr) == (64, True)
    helped = call("--help")
    assert (helped.returncode, helped.stdout.startswith("usage: ")) == (0, True)


def test_the_hub_of_the_clone_that_was_named_wins_over_the_environment_and_that_is_said(room: Room) -> None:
    said = room.add("--repo", str(room.clone.path), token=None, AGENTCOM_HUB="http://127.0.0.1:9")
    assert said.returncode == 0, said.stderr
    assert f"the hub answers at {room.hub.url}, which is that of {room.clone.path}" in said.stdout
    assert "AGENTCOM_HUB (http://127.0.0.1:9) is not asked" in said.stdout
    room.hub.stop()
    elsewhere = room.add("--repo", str(room.clone.path), token=None, AGENTCOM_HUB="http://127.0.0.1:9")
    assert (elsewhere.returncode, "no hub answers at http://127.0.0.1:9" in elsewhere.stderr) == (69, True)


def test_a_runtime_that_needs_more_than_its_name_gets_it_by_options(room: Room, tmp_path: Path) -> None:
    def add(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        where = ("--hub", room.hub.url, "--dir", str(room.home / "new"))
        return room.run("agent", "add", "new", *where, *words, **env)

    program = room.home / "work.sh"
    for words, why in (
        (("--runtime", "shell"), "needs the program that it runs: --command"),
        (("--runtime", "shell", "--command", "'"), "--command ': No closing quotation"),
        (("--runtime", "shell", "--command", "./work.sh"), "work.sh is no program that can be run"),
        (("--runtime", "fake", "--command", "x"), "fake has a command of its own"),
        (("--runtime", "opencode"), "needs --option model=... (provider/model)"),
        (("--runtime", "opencode", "--option", "modle=x"), "does not know it; known are model"),
        (("--runtime", "openclaw-agent", "--option", "agent"), "write KEY=VALUE"),
    ):
        said = add(*words)
        assert (said.returncode in (64, 78), why in said.stderr) == (True, True), (words, said.stderr)
    assert not room.config.exists()
    program.write_text('#!/bin/sh\ncat "$AGENTCOM_TASK_FILE" > /dev/null\nagentcom-report done "did: $1"\n')
    program.chmod(0o755)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = add("--runtime", "shell", "--command", "./work.sh 'two words'", PATH=path)
    assert said.returncode == 0, said.stderr
    assert f'argv: ["{program}", "two words"]' in room.config.read_text()
    (tmp_path / "bin").mkdir()
    opencode = tmp_path / "bin/opencode"
    opencode.write_text("#!/bin/sh\necho 1.18.33\n")
    opencode.chmod(0o755)
    dry = room.run("agent", "add", "other", "--hub", room.hub.url, "--runtime", "opencode", "--option", "model=a/b",
                   "--dry-run", PATH=f"{opencode.parent}{os.pathsep}{path}")  # fmt: skip
    assert dry.returncode == 0, dry.stderr
    assert "runtime opencode" in dry.stdout
