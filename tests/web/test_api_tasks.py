"""Tasks over HTTP, over a real hub and a real repository: made, changed, judged, kept."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.counter import Counter, agent_files
from support.repo import Clone, make_repo

from coordinator.core.events import Blocked, Complete
from coordinator.files import limits
from coordinator.git.message import parse_trailers
from coordinator.web import app

BACKLOG = "# Backlog\n\n## Ready\n\n- [ ] A line needs:rust <!-- t-line -->\n"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(
        tmp_path / "repo", {"BACKLOG.md": BACKLOG, "tasks/t-file.yaml": "title: A file\nhold: true\n", **agent_files()}
    )


@pytest.fixture
def counter(clone: Clone) -> Iterator[Counter]:
    opened = Counter(clone)
    yield opened
    opened.stop()


def trailers(counter: Counter, revision: str = "agentcom/state") -> dict[str, tuple[str, ...]]:
    return parse_trailers(counter.clone.git("log", "-1", "--format=%B", revision))


# --- making ----------------------------------------------------------------------------------------------------------


def test_a_task_is_made_committed_in_the_name_of_who_asked_and_shown(counter: Counter) -> None:
    said = {"title": "Write it", "description": "all of it\n", "priority": "high", "needed_capabilities": ["python"],
            "depends_on": ["t-unknown"], "max_retries": 1, "complete_by": 1_900_000_000_123,
            "metadata": {"a": [1, "x"]}, "assign_to": "ada", "repo": "app", "base": "main"}  # fmt: skip
    answer = counter.done("bob", "POST", "/api/tasks", said)
    task = counter.task(answer["id"])
    assert answer == {
        "id": task["id"],
        "task_id": task["id"],
        "status": "queued",
        "priority": "high",
        "created_at": task["created_at_ms"],
        "held": False,
    }
    assert counter.headers["Content-Type"] == "application/json"
    expected = {**said, "assignee": "ada", "deadline_ms": 1_900_000_000_123, "origin": "api", "created_by": "bob"}
    for name in ("complete_by", "assign_to"):
        del expected[name]
    assert {name: task[name] for name in expected} == expected
    assert counter.headers["ETag"] == f'"{task["revision"]}"'
    assert task["revision"] == counter.clone.git("rev-parse", f"agentcom/state:tasks/api/{task['id']}.yaml")
    assert counter.trail("-1", "--format=%an <%ae>") == "bob <bob@agents.agentcom.invalid>"
    assert trailers(counter)["Agentcom-Event"] == ("created",)
    assert [one["event"] for one in task["history"]] == ["created"]


def test_the_admin_makes_tasks_as_admin(counter: Counter) -> None:
    counter.make("admin")
    assert counter.trail("-1", "--format=%an %s").startswith("admin t-")


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ({"description": "\n  First line \nmore"}, "First line"),
        ({"description": "word " * 100}, ("word " * 59).strip() + "..."),
        ({"title": "  T  "}, "T"),
        ({"title": None, "description": "x"}, "x"),
    ],
)
def test_title_or_description_is_enough(counter: Counter, said: dict, title: str) -> None:
    made = counter.done("bob", "POST", "/api/tasks", said)
    assert counter.task(made["id"])["title"] == title


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({}, 400, None),
        ({"title": ""}, 400, None),
        ([], 400, None),
        ({"title": "x" * 301}, 422, "title"),
        ({"title": "two\nlines"}, 422, "title"),
        ({"title": 7}, 422, "title"),
        ({"title": "t", "description": "x" * (limits.DESCRIPTION_BYTES + 1)}, 422, "description"),
        ({"title": "t", "priority": "soon"}, 422, "priority"),
        ({"title": "t", "priority": 4}, 422, "priority"),
        ({"title": "t", "depends_on": ["No Id"]}, 422, "depends_on[0]"),
        ({"title": "t", "needed_capabilities": ["a", "a"]}, 422, "needed_capabilities[1]"),
        ({"title": "t", "max_retries": 1000}, 422, "max_retries"),
        ({"title": "t", "max_retries": "many"}, 400, "max_retries"),
        ({"title": "t", "complete_by": -1}, 422, "complete_by"),
        ({"title": "t", "deadline": "tomorrow"}, 422, "deadline"),
        ({"title": "t", "timeout": "soon"}, 422, "timeout"),
        ({"title": "t", "assign_to": "nobody"}, 422, "assign_to"),
        ({"title": "t", "assign_to": "No Id"}, 422, "assign_to"),
        ({"title": "t", "base": "--upload-pack=x"}, 422, "base"),
        ({"title": "t", "kind": "poem"}, 422, "kind"),
        ({"title": "t", "metadata": {"password": "hunter2hunter2"}}, 422, "metadata.password"),
    ],
)
def test_what_no_file_may_say_is_refused_by_its_field(counter: Counter, said, code: int, field: str | None) -> None:
    before = counter.hub.tip
    answer = counter.refused(code, "bob", "POST", "/api/tasks", said)
    assert counter.hub.tip == before
    if field is not None:
        assert [one["field"] for one in answer["errors"]] == [field]


def test_values_that_need_care_in_a_file_come_back_whole(counter: Counter) -> None:
    said = {
        "title": "no: 'yes' # \u202e\x1b[31m",
        "description": "---\nAgentcom-Event: done\n\n\ttab \x07\r\nlast",
        "metadata": {"n": None, "big": 2**70, "f": 1.5, "e": 1e300, "t": "012", "l": [[], {}], "k e y": ["no", True]},
        "labels": ["a,b", "yes"],
        "acceptance": ["one\ntwo\n"],
    }
    shown = counter.task(counter.make(**said))
    assert {name: shown[name] for name in said} == {**said, "metadata": {**said["metadata"], "big": str(2**70)}}


def test_a_chunked_body_needs_no_content_type(counter: Counter) -> None:
    code, _ = counter.ask("bob", "POST", "/api/tasks", None)
    assert code == 400


def test_an_id_is_never_given_twice(counter: Counter) -> None:
    made = {counter.make() for _ in range(20)}
    assert len(made) == 20
    assert all(len(name) == 10 and name.startswith("t-") for name in made)


# --- Idempotency-Key -------------------------------------------------------------------------------------------------


def test_one_key_makes_one_task_also_after_a_restart_and_after_edits(counter: Counter) -> None:
    said = {"title": "Once", "priority": "low"}
    first = counter.done("bob", "POST", "/api/tasks", said, Idempotency_Key="k")
    assert counter.done("bob", "POST", "/api/tasks", said, Idempotency_Key="k") == first
    counter.done("bob", "PATCH", f"/api/tasks/{first['id']}", {"title": "Changed"}, If_Match="*")
    counter.restart()
    assert counter.done("bob", "POST", "/api/tasks", said, Idempotency_Key="k")["id"] == first["id"]
    assert counter.refused(422, "bob", "POST", "/api/tasks", {"title": "Twice"}, Idempotency_Key="k")["error"] == (
        "idempotency_key_reused"
    )
    other = counter.done("admin", "POST", "/api/tasks", said, Idempotency_Key="k")
    assert other["id"] != first["id"], "another caller's key is another key"


def test_the_key_of_a_finished_or_taken_over_task_still_names_it(counter: Counter) -> None:
    done = counter.done("bob", "POST", "/api/tasks", {"title": "a"}, Idempotency_Key="1")["id"]
    counter.done("bob", "POST", f"/api/tasks/{done}/cancel")
    taken = counter.done("bob", "POST", "/api/tasks", {"title": "b"}, Idempotency_Key="2")["id"]
    counter.commit({f"tasks/{taken}.yaml": "title: Mine now\n"})
    counter.restart()
    assert counter.done("bob", "POST", "/api/tasks", {"title": "a"}, Idempotency_Key="1")["id"] == done
    assert counter.done("bob", "POST", "/api/tasks", {"title": "b"}, Idempotency_Key="2")["id"] == taken


# --- editing ---------------------------------------------------------------------------------------------------------


def test_an_edit_takes_the_revision_that_was_seen(counter: Counter) -> None:
    task_id = counter.make(labels=["a"])
    path, seen = f"/api/tasks/{task_id}", counter.task(task_id)["revision"]
    assert counter.refused(428, "bob", "PATCH", path, {"title": "New"})["error"] == "precondition_required"
    changed = counter.done("bob", "PATCH", path, {"title": "New", "labels": None}, If_Match=f'"{seen}"')
    assert (changed["title"], changed["labels"], changed["status"]) == ("New", [], "queued")
    assert counter.headers["ETag"] == f'"{changed["revision"]}"'
    refusal = counter.refused(412, "bob", "PATCH", path, {"title": "Newer"}, If_Match=f'"{seen}"')
    assert (refusal["error"], refusal["revision"]) == ("changed", changed["revision"])
    assert counter.trail("-1", "--format=%an %s") == f"bob {task_id}: spec edited (bob)"
    assert counter.done("bob", "PATCH", path, {"title": "Newer"}, If_Match=f'"{seen}", "{changed["revision"]}"')


@pytest.mark.parametrize(("task_id", "where"), [("t-file", "tasks/t-file.yaml"), ("t-line", "BACKLOG.md:5")])
def test_what_people_wrote_is_edited_where_it_stands(counter: Counter, task_id: str, where: str) -> None:
    refusal = counter.refused(409, "bob", "PATCH", f"/api/tasks/{task_id}", {"title": "x"})
    assert (refusal["error"], refusal["where"]) == ("has_file", where)
    assert where in refusal["hint"]
    counter.done("bob", "POST", f"/api/tasks/{task_id}/cancel")
    assert counter.refused(409, "bob", "PATCH", f"/api/tasks/{task_id}", {"title": "x"})["where"] == where


@pytest.mark.parametrize(
    "said", [{}, {"nothing": 1}, {"title": None}, {"status": "cancel", "title": "x"}, {"status": "dance"}]
)
def test_a_patch_that_says_nothing_or_two_things_is_refused(counter: Counter, said: dict) -> None:
    counter.refused(422, "bob", "PATCH", f"/api/tasks/{counter.make()}", said, If_Match="*")


def test_a_persons_file_takes_a_task_over_and_its_deletion_cancels_it(counter: Counter) -> None:
    task_id = counter.make()
    counter.commit({f"tasks/{task_id}.yaml": "title: Mine now\n"})
    shown = counter.task(task_id)
    assert (shown["title"], shown["origin"], shown["where"]) == ("Mine now", "file", f"tasks/{task_id}.yaml")
    assert f"tasks/api/{task_id}.yaml" not in counter.clone.tree("agentcom/state")
    counter.commit({f"tasks/{task_id}.yaml": None})
    assert counter.task(task_id)["status"] == "cancelled"


# --- words of coordinators -------------------------------------------------------------------------------------------


def test_a_coordinator_answers_judges_and_runs_again(counter: Counter) -> None:
    counter.connect("ada")
    task_id = counter.make(review="required", assign_to="ada")
    path = f"/api/tasks/{task_id}"
    counter.say("ada", Blocked(task_id, 1, "which?"))
    assert counter.refused(400, "bob", "POST", f"{path}/answer", {})["error"] == "missing required field: text"
    assert counter.refused(409, "bob", "POST", f"{path}/answer", {"text": "x", "generation": 2})["error"] == (
        "stale_generation"
    )
    assert counter.done("bob", "POST", f"{path}/answer", {"text": "left"}) == {"status": "answered", "task_id": task_id}
    counter.say("ada", Complete(task_id, 1, {"summary": "a"}))
    assert counter.done("bob", "POST", f"{path}/reject", {"note": "shorter"})["status"] == "rejected"
    counter.say("ada", Complete(task_id, 2, {"summary": "b"}))
    assert counter.done("bob", "PATCH", path, {"status": "approve", "note": "good"})["status"] == "done"
    assert counter.task(task_id)["reviews"] == [
        {"generation": 1, "approve": False, "note": "shorter"},
        {"generation": 2, "approve": True, "note": "good"},
    ]
    assert counter.done("bob", "POST", f"{path}/retry") == {
        "status": "requeued",
        "task_id": task_id,
        "priority": "normal",
    }
    assert counter.task(task_id)["generation"] == 3


@pytest.mark.parametrize("word", ["approve", "reject", "answer", "rerun"])
def test_a_word_that_changes_nothing_says_how_the_task_stands(counter: Counter, word: str) -> None:
    task_id = counter.make()
    said = {"status": word, "text": "x"}
    refusal = counter.refused(409, "bob", "PATCH", f"/api/tasks/{task_id}", said)
    assert (refusal["error"], refusal["status"], refusal["generation"]) == ("invalid_state", "queued", 0)


def test_a_finished_task_is_not_cancelled_again(counter: Counter) -> None:
    task_id = counter.make()
    counter.done("bob", "POST", f"/api/tasks/{task_id}/cancel", {"reason": "no need"})
    assert counter.task(task_id)["reason"] == "no need"
    refusal = counter.refused(409, "bob", "POST", f"/api/tasks/{task_id}/cancel")
    assert (refusal["error"], refusal["status"]) == ("invalid_state", "cancelled")
    assert counter.refused(409, "bob", "PATCH", f"/api/tasks/{task_id}", {"title": "x"}, If_Match="*")["status"] == (
        "cancelled"
    )


@pytest.mark.parametrize("word", ["retry", "cancel", "approve", "reject"])
def test_a_task_that_is_not_there_is_not_found(counter: Counter, word: str) -> None:
    refusal = counter.refused(404, "bob", "POST", f"/api/tasks/t-none/{word}")
    assert (refusal["error"], refusal["task_id"]) == ("task_not_found", "t-none")


def test_words_about_tasks_of_files_are_words_and_not_edits(counter: Counter) -> None:
    counter.done("bob", "POST", "/api/tasks/t-file/cancel")
    counter.done("bob", "POST", "/api/tasks/t-line/cancel")
    counter.restart()
    assert counter.done("bob", "POST", "/api/tasks/t-file/retry")["status"] == "requeued"
    assert counter.done("bob", "POST", "/api/tasks/t-line/retry")["status"] == "requeued"
    counter.restart()
    assert {counter.task(name)["status"] for name in ("t-file", "t-line")} == {"queued"}


def test_a_rerun_after_a_restart_takes_what_the_file_says_by_now(counter: Counter) -> None:
    counter.done("bob", "POST", "/api/tasks/t-file/cancel")
    counter.commit({"tasks/t-file.yaml": "title: In better words\n"})
    counter.restart()
    counter.done("bob", "POST", "/api/tasks/t-file/retry")
    assert counter.task("t-file")["title"] == "In better words"


def test_the_admin_deletes_and_the_id_is_never_used_again(counter: Counter) -> None:
    task_id = counter.done("bob", "POST", "/api/tasks", {"title": "x"}, Idempotency_Key="k")["id"]
    assert counter.done("admin", "DELETE", f"/api/tasks/{task_id}") == {"status": "deleted", "task_id": task_id}
    for _ in range(2):
        counter.refused(404, "eye", "GET", f"/api/tasks/{task_id}")
        counter.refused(404, "admin", "DELETE", f"/api/tasks/{task_id}")
        assert task_id not in [task["id"] for task in counter.done("eye", "GET", "/api/tasks")["tasks"]]
        assert counter.refused(409, "bob", "POST", "/api/tasks", {"title": "x"}, Idempotency_Key="k")["error"] == "gone"
        counter.restart()
    assert counter.clone.git("log", "--format=%s", "-1", "--grep", task_id, "agentcom/state") != ""


# --- words of agents -------------------------------------------------------------------------------------------------


def test_an_agent_does_its_own_task_over_http(counter: Counter) -> None:
    counter.connect("ada")
    path = f"/api/tasks/{counter.make(assign_to='ada')}"
    accepted = counter.done("ada", "PATCH", path, {"status": "accept", "generation": 1})
    assert (accepted["status"], accepted["ack"]) == ("working", "accepted")
    assert counter.done("ada", "PATCH", path, {"status": "progress", "generation": 1, "progress": 50})["ack"] is None
    blocked = counter.done("ada", "PATCH", path, {"status": "block", "generation": 1, "question": "which?"})
    assert (blocked["ack"], blocked["question"]) == ("blocked", "which?")
    counter.done("bob", "POST", f"{path}/answer", {"text": "left"})
    said = {"status": "complete", "generation": 1, "result": {"summary": "ok"}, "tokens_used": 7}
    done = counter.done("ada", "PATCH", path, said)
    assert (done["status"], done["ack"], done["result"]) == ("done", "complete", {"summary": "ok", "tokens_used": 7})
    assert counter.done("ada", "PATCH", path, said)["ack"] == "complete", "the same twice, the same ack"
    assert trailers(counter)["Agentcom-Agent"] == ("ada",)


def test_an_agent_fails_its_task_by_class(counter: Counter) -> None:
    counter.connect("ada")
    path = f"/api/tasks/{counter.make(assign_to='ada')}"
    said = {"status": "fail", "generation": 1, "error": "no money", "class": "budget"}
    assert counter.done("ada", "PATCH", path, said)["ack"] == "dead_letter"
    assert counter.task(path.rpartition("/")[2])["attempts"][-1]["end"] == "budget"


@pytest.mark.parametrize(
    ("who", "said", "code", "error"),
    [
        ("gcu", {"status": "complete", "generation": 1, "result": {}}, 409, "not_owner"),
        ("gcu", {"status": "progress", "generation": 1}, 409, "not_owner"),
        ("bob", {"status": "complete", "generation": 1, "result": {}}, 409, "not_owner"),
        ("admin", {"status": "complete", "generation": 1, "result": {}}, 409, "not_owner"),
        ("ada", {"status": "complete", "generation": 2, "result": {}}, 409, "stale_generation"),
        ("ada", {"status": "complete", "result": {}}, 400, "missing required field: generation"),
        ("ada", {"status": "complete", "generation": 0}, 422, "validation_failed"),
        ("ada", {"status": "complete", "generation": "1"}, 400, "malformed"),
        ("ada", {"status": "cancel"}, 403, "forbidden"),
        ("ada", {"title": "mine"}, 403, "forbidden"),
        ("eye", {"status": "accept", "generation": 1}, 403, "forbidden"),
    ],
)
def test_nobody_speaks_for_another(counter: Counter, who: str, said: dict, code: int, error: str) -> None:
    counter.connect("ada")
    path = f"/api/tasks/{counter.make(assign_to='ada')}"
    before = counter.hub.tip
    assert counter.refused(code, who, "PATCH", path, said, If_Match="*")["error"] == error
    assert counter.hub.tip == before


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "cancel"), ("POST", "retry"), ("POST", "answer"), ("POST", "approve"), ("POST", "reject")],
)
def test_an_agent_judges_nothing(counter: Counter, method: str, path: str) -> None:
    task_id = counter.make()
    counter.refused(403, "ada", method, f"/api/tasks/{task_id}/{path}", {"text": "x"})
    counter.refused(403, "bob", "DELETE", f"/api/tasks/{task_id}")
    counter.refused(403, "eye", "POST", "/api/tasks", {"title": "x"})
    counter.refused(403, "ada", "POST", "/api/confirm")


# --- proposals and what is held --------------------------------------------------------------------------------------


def test_what_an_agent_proposes_waits_until_it_is_confirmed_also_over_a_restart(counter: Counter) -> None:
    counter.connect("gcu")
    made = counter.done("ada", "POST", "/api/tasks", {"title": "An idea"})
    assert made["held"]
    counter.restart()
    counter.connect("gcu")
    assert counter.task(made["id"])["why"]["code"] == "held"
    (batch,) = [one for one in counter.done("eye", "GET", "/api/status")["held"] if one["kind"] == "proposed"]
    assert batch["ids"] == [made["id"]]
    assert "proposed by agents" in str(counter.done("eye", "GET", "/api/problems"))
    confirmed = counter.done("bob", "POST", "/api/confirm", {"commits": [batch["commit"]]})["confirmed"]
    assert confirmed == [batch]
    assert counter.task(made["id"])["status"] == "assigned"
    assert counter.done("bob", "POST", "/api/confirm")["confirmed"] == []


def test_a_commit_that_confirms_a_proposal_by_its_revision_releases_it(counter: Counter) -> None:
    made = counter.done("ada", "POST", "/api/tasks", {"title": "An idea"})
    revision = counter.task(made["id"])["revision"]
    counter.commit({}, f"Confirm\n\nAgentcom-Confirm: {revision}\n")
    assert not counter.task(made["id"])["held"]


def test_a_proposal_may_be_released_by_its_revision(counter: Counter) -> None:
    made = counter.done("ada", "POST", "/api/tasks", {"title": "An idea"})
    shown = counter.done("bob", "PATCH", f"/api/tasks/{made['id']}", {"hold": False}, If_Match="*")
    assert not shown["held"]


@pytest.mark.parametrize(("policy", "code"), [("queue", 201), ("refuse", 403)])
def test_the_policy_settles_what_becomes_of_proposals(counter: Counter, policy: str, code: int) -> None:
    counter.commit({"agentcom.yaml": f"proposals: {policy}\n"})
    got, answer = counter.ask("ada", "POST", "/api/tasks", {"title": "An idea"})
    assert (got, answer.get("held")) == (code, False if code == 201 else None)


def test_held_lines_are_confirmed_by_the_hubs_own_commit_and_stay_so(counter: Counter) -> None:
    lines = "".join(f"- [ ] Item {number}\n" for number in range(30))
    counter.commit({"BACKLOG.md": f"# Backlog\n\n## Ready\n\n{lines}"})
    (batch,) = counter.done("eye", "GET", "/api/status")["held"]
    assert len(counter.done("bob", "POST", "/api/confirm")["confirmed"][0]["ids"]) == 30
    assert trailers(counter)["Agentcom-Confirm"] == (batch["commit"],)
    assert counter.trail("-1", "--format=%an %s") == "bob confirm what is held (bob)"
    counter.restart()
    assert counter.done("eye", "GET", "/api/status")["held"] == []
    assert not any(task["held"] for task in counter.done("eye", "GET", "/api/tasks")["tasks"])


# --- lists -----------------------------------------------------------------------------------------------------------


def test_pages_go_on_where_they_ended_whatever_is_inserted(counter: Counter) -> None:
    made = [counter.make(title=f"Task {number}") for number in range(6)]
    first = counter.done("eye", "GET", "/api/tasks?q=Task&limit=2")
    assert (first["count"], [task["id"] for task in first["tasks"]]) == (6, made[:2])
    counter.make(title="Task in between", priority="urgent")
    second = counter.done("eye", "GET", f"/api/tasks?q=Task&limit=2&cursor={first['cursor']}")
    assert [task["id"] for task in second["tasks"]] == made[2:4]
    third = counter.done("eye", "GET", f"/api/tasks?q=Task&limit=100&cursor={second['cursor']}")
    assert ([task["id"] for task in third["tasks"]], third["cursor"]) == (made[4:], None)
    skipped = counter.done("eye", "GET", "/api/tasks?q=Task&limit=2&cursor=5")
    assert [task["id"] for task in skipped["tasks"]] == made[4:], "a number of an earlier version still counts"


def test_a_task_that_is_made_on_hold_is_answered_as_held(counter: Counter) -> None:
    assert counter.done("bob", "POST", "/api/tasks", {"title": "Later", "hold": True})["held"] is True


@pytest.mark.parametrize("cursor", ["x", "-1", "é", "W10", "W251bGwsMSwxLDEsMV0", "[" * 5000, "9" * 5000])
def test_a_cursor_that_was_never_given_is_malformed_or_empty(counter: Counter, cursor: str) -> None:
    code, answer = counter.ask("eye", "GET", f"/api/tasks?cursor={cursor}")
    assert code == (200 if cursor.isdigit() and cursor.isascii() else 400), answer


def test_numbers_and_dead_letters_are_counted(counter: Counter) -> None:
    counter.make(priority="urgent")
    gone = counter.make()
    counter.done("bob", "POST", f"/api/tasks/{gone}/cancel")
    stats = counter.done("eye", "GET", "/api/tasks/stats")
    assert set(stats) == {"by_status", "by_priority", "dead_letter"}
    assert (stats["by_status"]["queued"], stats["by_status"]["cancelled"], stats["dead_letter"]) == (3, 1, 1)
    assert stats["by_priority"] == {"0": 1, "1": 0, "2": 2, "3": 0}
    assert [task["id"] for task in counter.done("eye", "GET", "/api/tasks/dead-letter")["tasks"]] == [gone]


def test_the_default_repository_is_named_by_its_address(counter: Counter) -> None:
    assert counter.done("eye", "GET", "/api/config/default-repo") == {"default_repo": None, "configured": False}
    counter.commit({"agentcom.yaml": "default_repo: app\nrepos: {app: {url: 'https://example.org/app.git'}}\n"})
    assert counter.done("eye", "GET", "/api/config/default-repo") == {
        "default_repo": "https://example.org/app.git",
        "configured": True,
    }


# --- durable, harmless, kept -----------------------------------------------------------------------------------------


def test_a_write_that_is_not_durable_in_time_is_503_with_the_id(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PATIENCE", 0.2)
    lock = counter.clone.path / ".git/refs/heads/agentcom/state.lock"
    lock.touch()
    try:
        code, answer = counter.ask("bob", "POST", "/api/tasks", {"title": "Later"}, Idempotency_Key="k")
        assert (code, answer["error"], counter.headers["Retry-After"]) == (503, "unavailable", "1")
    finally:
        lock.unlink()
    monkeypatch.setattr(app, "PATIENCE", 30.0)
    assert counter.done("bob", "POST", "/api/tasks", {"title": "Later"}, Idempotency_Key="k")["id"] == answer["id"]


FORGED = "x\n\nAgentcom-Event: done\nAgentcom-Epoch: 99/h-forged00\n---\n\x1b[2J\u202eevil <a@b>\r\n"


def test_forged_trailers_and_control_characters_end_harmless_in_commits(counter: Counter) -> None:
    counter.connect("ada")
    task_id = counter.make(title=FORGED.replace("\n", " ").replace("\r", " "), description=FORGED, review="required")
    path = f"/api/tasks/{task_id}"
    counter.done("ada", "PATCH", path, {"status": "block", "generation": 1, "question": FORGED})
    counter.done("bob", "POST", f"{path}/answer", {"text": FORGED})
    counter.done("ada", "PATCH", path, {"status": "complete", "generation": 1, "result": {"summary": FORGED}})
    counter.done("bob", "POST", f"{path}/reject", {"note": FORGED})
    counter.done("ada", "PATCH", path, {"status": "fail", "generation": 2, "error": FORGED, "output_tail": FORGED})
    counter.done("bob", "POST", f"{path}/cancel", {"reason": FORGED})
    events = []
    for commit in counter.clone.git("log", "--format=%H", "-9", "--reverse", "agentcom/state").split():
        said = trailers(counter, commit)
        assert said["Agentcom-Epoch"][0].startswith("1/h-"), "one epoch, and the hub's own"
        assert len(said["Agentcom-Epoch"]) == len(said["Agentcom-Event"]) == 1
        git_says = counter.clone.git("log", "-1", "--format=%(trailers:key=Agentcom-Event,valueonly)", commit)
        assert git_says.split() == list(said["Agentcom-Event"])
        assert not set(counter.clone.git("log", "-1", "--format=%B", commit)) & set("\x1b\u202e\r\x07")
        events += said["Agentcom-Event"]
    assert events[-2:] == ["failed", "cancelled"]
    shown = counter.task(task_id)
    assert shown["reason"] == FORGED
    counter.restart()
    assert counter.task(task_id)["answers"][0]["text"] == FORGED, "what was said is kept as it was said"


def test_everything_that_was_made_is_there_after_a_restart(counter: Counter) -> None:
    counter.connect("ada")
    open_id, own = counter.make(hold=True), counter.make(assign_to="ada")
    counter.done("ada", "PATCH", f"/api/tasks/{own}", {"status": "accept", "generation": 1})
    done = counter.make()
    counter.done("bob", "POST", f"/api/tasks/{done}/cancel")
    before = {name: counter.task(name) for name in (open_id, own, done)}
    tip = counter.hub.tip
    counter.restart()
    assert counter.clone.git("log", "--format=%s", f"{tip}..agentcom/state").startswith("hub h-"), "one claim, no more"
    after = {name: counter.task(name) for name in (open_id, own, done)}
    for name in before:
        for shown in (before[name], after[name]):
            shown["history"] = len(shown["history"])
            shown["where"] = shown["why"] = None
    assert json.dumps(after, sort_keys=True) == json.dumps(before, sort_keys=True)
    counter.done("bob", "PATCH", f"/api/tasks/{open_id}", {"hold": False}, If_Match=f'"{before[open_id]["revision"]}"')
