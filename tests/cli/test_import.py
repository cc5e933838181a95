"""``agentcom import v1``: old tokens and open tasks come along, once, and nothing else does."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from support.oldhub import ADMIN, OldHub, old_task
from support.statebranch import hub_writes

OLD = {"loash": "9f" * 32, "GCU Conditions": "71" * 32}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return _write(tmp_path, OLD)


def _write(tmp_path: Path, what: object) -> Path:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(what), encoding="utf-8")
    return path


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def test_agents_come_with_the_hashes_of_their_tokens_in_one_commit_of_the_person(run, clone, tokens) -> None:
    before = clone.head()
    said = run("import", "v1", "--tokens", str(tokens))
    assert said.code == 0, said.err
    assert clone.git("log", "--format=%an: %s", f"{before}..").splitlines() == [
        "Ada Lovelace: Import 2 agents from version 1"
    ]
    loash = yaml.safe_load(clone.show("agents/loash.yaml"))
    assert loash["tokens"] == [{"sha256": _sha256(OLD["loash"]), "prefix": "9f9f9f9f"}]
    assert yaml.safe_load(clone.show("agents/gcu-conditions.yaml"))["name"] == "GCU Conditions"
    assert "GCU Conditions  ->  gcu-conditions" in said.out
    assert "write agent_id: gcu-conditions into its sidecar's config" in said.out
    assert "mail, channels" in said.out
    assert not any(token in clone.git("log", "-p") for token in OLD.values())


def test_a_list_is_read_too_and_what_else_stood_there_is_said(run, clone, tmp_path) -> None:
    listed = [{"agent_id": name, "token": token, "created_at": 5} for name, token in OLD.items()]
    said = run("import", "v1", "--tokens", str(_write(tmp_path, listed)))
    assert said.code == 0, said.err
    assert "left out: created_at" in said.out
    assert (clone.path / "agents/gcu-conditions.yaml").exists()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"a": {"token": "x"}}, "'a' has a mapping where its token should be"),
        ([{"agent_id": "a"}], "entry 1 has nothing as token"),
        (["secret-secret-secret"], "entry 1 is a text; expected"),
        (17, "holds a number"),
        ({}, "holds no token"),
        ([{"agent_id": "a", "token": "1"}, {"agent_id": "a", "token": "2"}], "names 'a' twice"),
        ({"9f" * 32: "loash"}, "turn it round"),
    ],
)
def test_what_is_no_tokens_file_is_said_without_repeating_a_token(run, clone, tmp_path, what, said) -> None:
    answer = run("import", "v1", "--tokens", str(_write(tmp_path, what)))
    assert answer.code == 65
    assert "secret-secret" not in answer.err
    assert said in answer.err


def test_a_file_that_is_no_json_is_named_with_its_place(run, clone, tmp_path) -> None:
    path = tmp_path / "tokens.json"
    path.write_text('{"a": "b",\n oops}')
    answer = run("import", "v1", "--tokens", str(path))
    assert (answer.code, f"{path}: 2:2: is not JSON" in answer.err) == (65, True)
    assert run("import", "v1", "--tokens", str(tmp_path / "none.json")).code == 64


def test_open_tasks_come_on_hold_and_ended_ones_stay(run, clone, tokens) -> None:
    tasks = [
        old_task(1, priority=0, needed_capabilities=[{"name": "code"}], assigned_to="loash", status="assigned"),
        old_task(2, title="Second", depends_on=["task-00000001", "task-00000003"], complete_by=1, repo="https://x/y"),
        old_task(3, status="completed"),
        old_task(4, status="dead_letter"),
    ]
    with OldHub(tasks, [{"agent_id": "loash", "name": "Loash the Old"}]) as hub:
        said = run("import", "v1", "--tokens", str(tokens), "--hub", hub.url, "--admin-token", ADMIN)
    assert said.code == 0, said.err
    first = yaml.safe_load(clone.show("tasks/task-00000001.yaml"))
    assert first == {
        "title": "Write the number 1",
        "description": "Write the number 1\n\nand nothing else",
        "priority": "urgent",
        "needed_capabilities": ["code"],
        "max_retries": 3,
        "hold": True,
        "metadata": {"v1_id": "task-00000001"},
    }
    second = yaml.safe_load(clone.show("tasks/task-00000002.yaml"))
    assert (second["title"], second["depends_on"]) == ("Second", ["task-00000001"])
    assert second["metadata"] == {"repo": "https://x/y", "v1_id": "task-00000002"}
    assert "deadline" not in second
    assert sorted(path.name for path in (clone.path / "tasks").glob("*.yaml")) == [
        "task-00000001.yaml",
        "task-00000002.yaml",
    ]
    for note in ("loash had it in hand", "its deadline is over", "waited for task-00000003"):
        assert note in said.out
    assert yaml.safe_load(clone.show("agents/loash.yaml"))["name"] == "Loash the Old"
    assert clone.git("log", "-1", "--format=%s") == "Import 2 agents and 2 tasks from version 1"
    assert run("validate").code == 0


def test_doing_it_again_takes_over_only_what_has_come_since(run, clone, tokens) -> None:
    with OldHub([old_task(1)]) as hub:
        how = ("import", "v1", "--tokens", str(tokens), "--hub", hub.url, "--admin-token", ADMIN)
        assert run(*how).code == 0
        head = clone.head()
        again = run(*how)
        assert (again.code, clone.head()) == (0, head)
        assert "there was nothing to commit" in again.out
        clone.commit({"tasks/task-00000001.yaml": clone.show("tasks/task-00000001.yaml") + "labels: [mine]\n"})
        hub.tasks.append(old_task(2))
        assert run(*how).code == 0
    assert clone.git("log", "-1", "--format=%s") == "Import 1 task from version 1"
    assert "mine" in clone.show("tasks/task-00000001.yaml")


def test_a_dry_run_says_all_and_writes_nothing(run, clone, tokens) -> None:
    before = clone.snapshot()
    with OldHub([old_task(1)]) as hub:
        said = run("import", "v1", "--tokens", str(tokens), "--hub", hub.url, "--admin-token", ADMIN, "--dry-run")
        as_json = run(
            "import", "v1", "--tokens", str(tokens), "--hub", hub.url, "--admin-token", ADMIN, "--dry-run", "--json"
        ).json
    assert said.code == 0
    assert "it would be 3 files in one commit" in said.out
    assert clone.snapshot() == before
    assert [one["state"] for one in as_json["agents"]] == ["new", "new"]
    assert as_json["tasks"][0]["id"] == "task-00000001"


def test_ids_that_would_become_one_are_refused_together_and_nothing_is_written(run, clone, tmp_path) -> None:
    old = {"Loash": "9f" * 32, "loash": "71" * 32, "main": "aa" * 32, "x": "9f" * 32, "日本": "bb" * 32}
    before = clone.snapshot()
    said = run("import", "v1", "--tokens", str(_write(tmp_path, old)))
    assert said.code == 64
    for part in ("'Loash' and 'loash' would both be loash", "'main' gives no id", "have the same token", "'日本'"):
        assert part in said.err
    assert clone.snapshot() == before


def test_an_agent_that_is_here_with_another_token_is_a_collision(run, clone, tokens) -> None:
    assert run("agent", "add", "loash").code == 0
    said = run("import", "v1", "--tokens", str(tokens))
    assert (said.code, "without the token of 'loash'" in said.err) == (64, True)
    assert not (clone.path / "agents/gcu-conditions.yaml").exists()


def test_a_task_that_holds_a_secret_is_named_and_the_others_come(run, clone, tokens) -> None:
    leaky = old_task(1, description="use ghp_" + "a1B2" * 10)
    with OldHub([leaky, old_task(2)]) as hub:
        said = run("import", "v1", "--tokens", str(tokens), "--hub", hub.url, "--admin-token", ADMIN)
    assert said.code == 65
    assert "task-00000001 is not taken over" in said.err
    assert "a1B2a1B2" not in said.out + said.err
    assert (clone.path / "tasks/task-00000002.yaml").exists()


def test_a_short_token_comes_and_is_warned_of_and_none_of_it_is_shown(run, clone, tmp_path) -> None:
    said = run("import", "v1", "--tokens", str(_write(tmp_path, {"loash": "hunter2"})))
    assert said.code == 0
    assert "can be guessed from its hash" in said.out
    assert "hunter" not in clone.show("agents/loash.yaml") + said.out


def test_an_old_hub_that_is_away_or_refuses_is_said_and_nothing_is_written(run, clone, tokens) -> None:
    how = ("import", "v1", "--tokens", str(tokens), "--hub")
    assert run(*how, "http://127.0.0.1:9").code == 69
    assert run(*how, "gopher").code == 64
    with OldHub() as hub:
        said = run(*how, hub.url, "--admin-token", "wrong")
    assert (said.code, "AGENTCOM_V1_TOKEN" in said.err) == (77, True)
    assert not (clone.path / "agents").exists()


def test_a_long_title_keeps_its_whole_text(run, clone, tokens) -> None:
    with OldHub([old_task(1, title="long " * 100, description="more")]) as hub:
        assert run("import", "v1", "--tokens", str(tokens), "--hub", hub.url, "--admin-token", ADMIN).code == 0
    task = yaml.safe_load(clone.show("tasks/task-00000001.yaml"))
    assert len(task["title"]) <= 300
    assert task["description"].startswith("long long")
    assert task["description"].endswith("more")


def test_an_agent_that_registered_with_the_hub_is_a_collision(run, clone, tokens) -> None:
    hub_writes(clone, "agents/api/loash.yaml")
    said = run("import", "v1", "--tokens", str(tokens))
    assert (said.code, "loash was registered with the hub already" in said.err) == (64, True)


def test_a_task_that_was_taken_over_and_deleted_since_does_not_come_back(run, clone, tokens) -> None:
    hub_writes(clone, "status/closed/2026/11/25/task-00000001.yaml")
    with OldHub([old_task(1)]) as hub:
        said = run("import", "v1", "--tokens", str(tokens), "--hub", hub.url, "--admin-token", ADMIN)
    assert said.code == 0, said.err
    assert not (clone.path / "tasks").exists()
    assert "is here already" in said.out
