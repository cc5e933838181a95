"""What the commands for people's files write and say, in a real repository and as a real process."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.repo import PERSON, Clone, git_env

pytestmark = pytest.mark.slow

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


# --- validate -------------------------------------------------------------------------------------------------------

WRONG = {
    "tasks/t-1.yaml": "title: a\npriority: 100%\nneeded_capabilities: [[python]]\n",
    "tasks/a,b:c.yml": "title: a\n",
    "agents/loash.yaml": "role: admin\n",
}
TEXT = """\
agents/loash.yaml:1:7: role: admin is unknown, write one of reader, agent, coordinator
tasks/a,b:c.yml: is not read, rename it to a,b:c.yaml
tasks/t-1.yaml:2:11: priority: 100% is unknown, write one of urgent, high, normal, low
tasks/t-1.yaml:3:23: needed_capabilities[0]: expected a word, got a list, did you mean "- python"?
"""
GITHUB = """\
::error file=agents/loash.yaml,line=1,col=7,title=AgentCom%3A role::admin is unknown, \
write one of reader, agent, coordinator
::error file=tasks/a%2Cb%3Ac.yml,title=AgentCom::is not read, rename it to a,b:c.yaml
::error file=tasks/t-1.yaml,line=2,col=11,title=AgentCom%3A priority::100%25 is unknown, \
write one of urgent, high, normal, low
::error file=tasks/t-1.yaml,line=3,col=23,title=AgentCom%3A needed_capabilities[0]::expected a word, got a list, \
did you mean "- python"?
"""


def test_validate_says_the_same_as_text_json_and_annotations(ours):
    ours.write(WRONG)
    assert agentcom(ours.path, "validate", code=65) == TEXT
    assert agentcom(ours.path, "validate", "--format", "text", code=65) == TEXT
    assert agentcom(ours.path, "validate", "--format", "github", code=65) == GITHUB
    said = agentcom(ours.path, "validate", "--format", "json", code=65)
    assert said == agentcom(ours.path, "validate", "--json", code=65)
    assert json.loads(said)["count"] == 4
    assert json.loads(said)["problems"][2] == {
        "path": "tasks/t-1.yaml",
        "line": 2,
        "column": 11,
        "field": "priority",
        "what": "100% is unknown",
        "hint": "write one of urgent, high, normal, low",
        "task_id": "t-1",
    }
    assert agentcom(ours.path, "validate", "--format", "github", "agents", code=65) == GITHUB.splitlines()[0] + "\n"
    assert "yaml" in agentcom(ours.path, "validate", "--format", "yaml", code=64)


def _jobs() -> dict[str, list[str]]:
    """Return the commands of the CI jobs on the page, by what the block is called."""
    page = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```yaml (\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    github, gitlab = yaml.safe_load(blocks["github"]), yaml.safe_load(blocks["gitlab"])
    steps = github["jobs"]["validate"]["steps"]
    return {"github": [step["run"] for step in steps if "run" in step], "gitlab": gitlab["agentcom"]["script"]}


@pytest.mark.parametrize("where", ["github", "gitlab"])
def test_the_ci_jobs_on_the_page_find_mistakes_in_a_shallow_clone_without_a_branch(ours, tmp_path, where):
    install, check = _jobs()[where]
    assert install.startswith("pip install")
    assert check.startswith("agentcom ")
    ours.commit(WRONG)
    ours.git("clone", "--quiet", "--depth=1", ours.path.as_uri(), str(tmp_path / "runner"))
    runner = Clone(tmp_path / "runner")
    runner.git("checkout", "--quiet", "--detach")
    assert agentcom(runner.path, *check.split()[1:], code=65) == (GITHUB if where == "github" else TEXT)
    runner.git("rm", "-r", "--quiet", *WRONG)
    assert agentcom(runner.path, *check.split()[1:]) == "ok: nothing is wrong\n"


# --- why a task is not as its file says -----------------------------------------------------------------------------


def test_why_names_the_mistake_of_a_file_that_never_was_right(ours):
    ours.commit({"tasks/t-1.yaml": "titel: x\n"})
    said = agentcom(ours.path, "task", "why", "t-1", code=65)
    assert said == (
        "agentcom: there is no task t-1 yet, because something is wrong: "
        "tasks/t-1.yaml:1:1: titel: unknown key, did you mean title?; "
        "tasks/t-1.yaml:1:1: title: is missing, add title: ...\n"
    )
    assert "there is no task t-2 (" in agentcom(ours.path, "task", "why", "t-2", code=1)
