"""What the commands for people's files write and say, in a real repository and as a real process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.repo import PERSON, Clone, git_env

ROOT = Path(__file__).resolve().parent.parent


def agentcom(folder: Path, *argv: str, code: int = 0) -> str:
    """Run ``agentcom`` as Ada in a folder; return what it printed."""
    name, email = PERSON
    env = git_env(GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=email, GIT_COMMITTER_NAME=name, GIT_COMMITTER_EMAIL=email)
    done = subprocess.run(
        [sys.executable, "-m", "coordinator", *argv], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def ours(tmp_path: Path) -> Clone:
    agentcom(tmp_path, "init", "ours")
    clone = Clone(tmp_path / "ours")
    clone.git("config", "user.name", PERSON[0])
    clone.git("config", "user.email", PERSON[1])
    return clone


# --- schemas for editors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "folder"), [("task", "tasks"), ("agent", "agents")])
def test_init_lays_the_schema_where_the_first_line_of_a_file_says(ours, kind, folder):
    sample = (ours.path / folder / "example.yaml.sample").read_text(encoding="utf-8")
    first = sample.splitlines()[0]
    beside = ours.path / folder / first.removeprefix("# yaml-language-server: $schema=")
    assert beside.read_text(encoding="utf-8") == agentcom(ours.path, "schema", kind)
    assert ours.git("status", "--porcelain") == ""


def test_a_schema_beside_the_files_is_no_problem(ours):
    assert agentcom(ours.path, "validate") == "ok: nothing is wrong\n"


def test_agent_add_begins_the_file_with_the_line_for_editors_where_the_schema_is(ours):
    agentcom(ours.path, "agent", "add", "loash")
    lines = (ours.path / "agents/loash.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["# yaml-language-server: $schema=agent.schema.json", 'name: "loash"']
    ours.commit({"agents/agent.schema.json": None})
    agentcom(ours.path, "agent", "add", "gcu")
    assert (ours.path / "agents/gcu.yaml").read_text(encoding="utf-8").startswith('name: "gcu"\n')
    assert agentcom(ours.path, "validate") == "ok: nothing is wrong\n"


def test_the_schema_of_the_policy_is_printed_too_and_with_json_as_one_object(tmp_path):
    printed = json.loads(agentcom(tmp_path, "schema", "policy"))
    assert printed["properties"]["timeouts"]
    assert json.loads(agentcom(tmp_path, "schema", "policy", "--json")) == {
        "schema_version": 1,
        "kind": "policy",
        "schema": printed,
    }
    assert "task" in agentcom(tmp_path, "schema", "backlog", code=64)
