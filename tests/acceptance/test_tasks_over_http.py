"""Tasks over real HTTP against a real hub: the commands with --hub, chunked bodies, kills of the hub."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.hubprocess import HubProcess
from support.repo import git_env, make_repo

from coordinator.web.auth import digest

pytestmark = pytest.mark.slow

FILES = {
    "BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] A line needs:rust <!-- t-line -->\n",
    "agents/ada.yaml": f"role: agent\ntokens: [{{sha256: {digest('ac_ada')}}}]\n",
    "agents/bob.yaml": f"role: coordinator\nkind: person\ntokens: [{{sha256: {digest('ac_bob')}}}]\n",
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    repo = make_repo(tmp_path / "repo", FILES)
    with HubProcess(repo.path) as running:
        assert running.ready, running.said
        yield running


class Elsewhere:
    """Somebody in a folder that is no repository, who speaks to the hub by its address."""

    def __init__(self, folder: Path, hub: HubProcess, token: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.hub, self.token = folder, hub, token

    def type(self, *words: str) -> tuple[int, str]:
        """Type a command; return its exit code, and what it said on both outputs."""
        env = {**git_env(), "AGENTCOM_TOKEN": self.token}
        env.pop("AGENTCOM_HUB", None)
        argv = (sys.executable, "-m", "coordinator", *words, "--hub", self.hub.url)
        done = subprocess.run(argv, cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def done(self, *words: str) -> dict[str, Any]:
        code, said = self.type(*words, "--json")
        assert code == 0, said
        found: dict[str, Any] = json.loads(said)
        return found

    def task(self, task_id: str) -> dict[str, Any]:
        return self.done("task", "show", task_id)


@pytest.fixture
def person(tmp_path: Path, hub: HubProcess) -> Elsewhere:
    return Elsewhere(tmp_path / "elsewhere", hub, "ac_bob")


def test_the_commands_make_change_and_judge_tasks_without_a_clone(person: Elsewhere, tmp_path: Path) -> None:
    made = person.done("task", "new", "Paint it", "--review", "--priority", "high", "--needs", "paint", "--hold",
                       "--timeout", "30m", "--deadline", "2030-01-01", "--label", "soon")["id"]  # fmt: skip
    shown = person.task(made)
    assert (shown["priority"], shown["created_by"], shown["review"], shown["hold"]) == ("high", "bob", True, True)
    assert (shown["timeout_s"], shown["deadline"], shown["labels"]) == (1800.0, "2030-01-01T23:59:59.999Z", ["soon"])

    person.done("task", "edit", made, "--title", "Paint it blue", "--needs", "")
    person.done("task", "release", made)
    shown = person.task(made)
    assert (shown["title"], shown["needed_capabilities"], shown["hold"]) == ("Paint it blue", [], False)
    person.done("task", "hold", made)
    assert person.task(made)["why"]["code"] == "held"

    code, said = person.type("task", "answer", made, "blue")
    assert (code, said) == (1, f"agentcom: {made} asks nothing: it is queued, not blocked\n")
    assert person.type("task", "approve", made)[0] == 1
    assert person.type("task", "reject", made, "--note", "no")[0] == 1
    assert person.type("task", "rerun", made)[0] == 1
    code, said = person.type("task", "cancel", made)
    assert (code, said) == (0, f"cancelled {made} at {person.hub.url}: it is cancelled\n")
    assert person.done("task", "rerun", made)["what"] == "requeued"
    code, said = person.type("task", "rm", made)
    assert (code, said) == (77, f"agentcom: {person.hub.url} does not allow that: this takes the admin's token\n")
    admin = Elsewhere(tmp_path / "admin", person.hub, person.hub.token)
    assert admin.done("task", "rm", made)["what"] == "deleted"

    code, said = person.type("task", "edit", "t-line", "--title", "x")
    assert (code, "BACKLOG.md:5" in said) == (1, True)
    assert person.done("task", "cancel", "t-line")["what"] == "cancelled", "a word is no edit"


def test_what_an_agent_proposes_is_shown_and_confirmed_at_a_hub_elsewhere(hub: HubProcess, tmp_path: Path) -> None:
    person, agent = Elsewhere(tmp_path / "bob", hub, "ac_bob"), Elsewhere(tmp_path / "ada", hub, "ac_ada")
    assert person.type("confirm") == (0, "nothing is held\n")
    proposed = agent.done("task", "new", "Sweep $(touch pwned)")["id"]
    code, said = agent.type("confirm")
    assert (code, "1 proposed by an agent" in said) == (77, True), said
    shown = person.done("confirm", "--show")
    assert [batch["ids"] for batch in shown["held"]] == [[proposed]]
    assert "agentcom confirm --hub" in person.type("confirm", "--show")[1]
    assert person.task(proposed)["why"]["code"] == "held"
    assert person.done("confirm")["confirmed"] == [shown["held"][0]["commit"]]
    assert (person.task(proposed)["why"] or {}).get("code") != "held"
    assert person.type("confirm") == (0, "nothing is held\n")
    code, said = person.type("confirm", "--push")
    assert (code, said) == (64, "agentcom: --push and --hub exclude one another: nothing is committed here\n")


def test_a_line_is_added_at_a_hub_elsewhere_with_all_that_it_says(person: Elsewhere) -> None:
    made = person.done("add", "**Sing** - loudly #music !high needs:voice timeout:5m")["id"]
    shown = person.task(made)
    assert (shown["title"], shown["description"], shown["labels"]) == ("Sing", "loudly", ["music"])
    assert (shown["priority"], shown["needed_capabilities"], shown["timeout_s"]) == ("high", ["voice"], 300.0)
    assert person.type("add", "later", "--lane", "inbox")[0] == 64


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("task", "new", "x", "--push"), 64, "--push and --hub exclude one another"),
        (("task", "new", "x", "--id", "t-1"), 64, "the hub gives the id"),
        (("task", "new", "x" * 301), 64, "title: longer than 300 characters"),
        (("task", "new", "x", "--assignee", "nobody"), 64, "there is no agent nobody"),
        (("task", "edit", "t-none", "--title", "x"), 1, "there is no such task"),
        (("task", "edit", "t-line"), 64, "say by options what to change"),
        (("task", "cancel", "t-none"), 1, "there is no task t-none"),
    ],
)
def test_what_does_not_go_is_said_in_one_line(person: Elsewhere, words, code: int, said: str) -> None:
    got, text = person.type(*words)
    assert (got, said in text, text.count("\n")) == (code, True, 1), text


def test_a_wrong_token_and_a_hub_that_is_not_there_have_codes_of_their_own(person: Elsewhere) -> None:
    person.token = "ac_wrong"
    assert person.type("task", "new", "x")[0] == 77
    person.hub.stop()
    assert person.type("task", "new", "x")[0] == 69


def test_what_was_answered_survives_kill_9_and_a_key_names_it_ever_after(hub: HubProcess) -> None:
    def post(key: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return hub.client.call("POST", "/api/tasks", said, {"Idempotency-Key": key})

    made = [post(f"k{number}", {"title": f"Task {number}"})[1] for number in range(10)]
    hub.kill()
    hub.start()
    assert hub.ready, hub.said
    again = [post(f"k{number}", {"title": f"Task {number}"})[1] for number in range(10)]
    assert again == made
    assert post("k1", {"title": "Something else"})[0] == 422
    assert hub.client.get("/api/tasks", q="Task")["count"] == 10


def test_a_chunked_body_is_read_and_201_is_exactly_as_version_1_expects(hub: HubProcess) -> None:
    address = urlsplit(hub.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    body = json.dumps({"description": "From a script", "priority": "low"}).encode()
    headers = {"Authorization": "Bearer ac_bob", "Content-Type": "application/json"}
    connection.request("POST", "/api/tasks", iter([body[:7], body[7:]]), headers, encode_chunked=True)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert (answer.status, set(said)) == (201, {"id", "task_id", "status", "priority", "created_at", "held"})
    assert (said["status"], said["priority"], said["held"], type(said["created_at"])) == ("queued", "low", False, int)
