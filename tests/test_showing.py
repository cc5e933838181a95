"""What the dashboard is shown: of a running hub, and of a clone without one, over a real repository."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.fetching import ask, fetch
from support.hubprocess import HubProcess
from support.hubs import look, open_tasks, running
from support.repo import Clone, make_repo

from coordinator.clonepages import CloneShowing
from coordinator.core.agent import Session
from coordinator.core.events import Accepted, Complete, Connected, Said
from coordinator.ground import survey
from coordinator.hub import Hub
from coordinator.saved import Lookout, SavedWork
from coordinator.service import make_postroom
from coordinator.showing import HubShowing
from dashboard.snapshot import take
from dashboard.view import Asked

READY = "# Backlog\n\n## Inbox\n\n- [ ] an idea\n\n## Ready\n\n- [ ] first thing\n"
LOASH = "capabilities: [python]\ntokens: []\n"


@pytest.fixture(autouse=True)
def no_other_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": READY, "agents/loash.yaml": LOASH})


@asynccontextmanager
async def showing(clone: Clone, hub: Hub) -> AsyncIterator[HubShowing]:
    ground = survey(clone.path)
    postroom = make_postroom(hub, ground)
    lookout = Lookout(SavedWork(ground).uncommitted)
    yield HubShowing(hub, ground, hub.now().wall, lookout, lambda: hub.problems, None, postroom)
    await postroom.close()


async def do_the_first_thing(hub: Hub) -> str:
    (task,) = open_tasks(hub).values()
    await hub.settle(Connected("loash", Session("s1", ("python",), frozenset({"release"}), frozenset())))
    await hub.settle(Said("loash", "s1", Accepted(task.id, 1)))
    await hub.settle(Said("loash", "s1", Complete(task.id, 1, {"summary": "done it"})))
    return task.id


async def test_a_hub_shows_its_tasks_its_history_and_its_backlog(clone: Clone) -> None:
    async with running(clone) as hub, showing(clone, hub) as view:
        before = take(await view.seen())
        assert (before.waiting.count, before.seen.drafts, before.seen.origin.live) == (1, 1, True)
        assert before.seen.whys[before.waiting.rows[0].task.id].code == "agents_offline"
        task = await do_the_first_thing(hub)
        after = take(await view.seen())
        assert [row.task.id for row in after.finished.rows] == [task]
        story = await view.story(task)
        assert story is not None
        assert [event.event for event in story.events] == ["completed", "accepted", "assigned", "created"]
        document = await view.backlog()
        assert document.text == READY
        assert document.items[9].id == task
        assert document.items[5].lane == "draft"
        assert [event.task for event in await view.events(Asked(agent="loash"), 1)] == [task]
        assert len(await view.events(Asked(task=task, event="created"), 9)) == 1
        assert await view.story("t-none") is None


async def test_an_edit_is_shown_as_what_it_changed(clone: Clone) -> None:
    clone.commit({"tasks/t-1.yaml": "title: before\n", "BACKLOG.md": None})
    async with running(clone) as hub, showing(clone, hub) as view:
        clone.commit({"tasks/t-1.yaml": "title: after\n"})
        await look(hub)
        story = await view.story("t-1")
        assert story is not None
        assert [(one.path, one.text) for one in story.editions] == [
            ("tasks/t-1.yaml", "title: before\n"),
            ("tasks/t-1.yaml", "title: after\n"),
        ]


async def test_what_changes_gives_another_mark_and_what_does_not_the_same(clone: Clone) -> None:
    async with running(clone) as hub, showing(clone, hub) as view:
        (task,) = open_tasks(hub)
        name = open_tasks(hub)[task].id
        topics = ("all", f"task:{name}", "agent:loash", "task:t-none")
        before = {topic: view.mark(topic) for topic in topics}
        assert {topic: view.mark(topic) for topic in topics} == before
        await do_the_first_thing(hub)
        after = {topic: view.mark(topic) for topic in topics}
        assert [topic for topic in topics if after[topic] != before[topic]] == ["all", f"task:{name}", "agent:loash"]


async def test_a_waiting_task_gives_another_mark_when_it_waits_for_something_else(clone: Clone) -> None:
    async with running(clone) as hub, showing(clone, hub) as view:
        (task,) = open_tasks(hub).values()
        clone.commit({"BACKLOG.md": READY + "- [ ] second thing\n"})
        await look(hub)
        (other,) = (one for one in open_tasks(hub).values() if one.id != task.id)
        before = view.mark(f"task:{other.id}")
        await hub.settle(Connected("loash", Session("s1", ("python",), frozenset(), frozenset())))
        assert view.mark(f"task:{other.id}") != before


async def test_what_is_shown_may_be_behind_only_where_that_is_allowed(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.showing.SHARE", 1e9)
    async with running(clone) as hub, showing(clone, hub) as view:
        before = await view.seen()
        await do_the_first_thing(hub)
        assert await view.seen(behind=60.0) is before
        assert take(await view.seen()).finished.count == 1


async def test_what_ended_before_the_hub_started_is_shown_too(clone: Clone) -> None:
    async with running(clone) as hub:
        task = await do_the_first_thing(hub)
    async with running(clone) as hub, showing(clone, hub) as view:
        assert task not in hub.core.memory.tasks
        assert [row.task.id for row in take(await view.seen()).finished.rows] == [task]


async def test_a_clone_without_a_hub_shows_everything_that_git_knows(clone: Clone) -> None:
    async with running(clone) as hub:
        task = await do_the_first_thing(hub)
        clone.commit({"BACKLOG.md": READY + "- [ ] second thing\n"})
        await look(hub)
    files = clone.snapshot()
    view = CloneShowing(survey(clone.path))
    snapshot = take(await view.seen())
    assert snapshot.seen.origin.text.startswith("hub not running; as of ")
    assert [one.code for one in snapshot.conditions] == ["no_hub"]
    assert [row.task.id for row in snapshot.finished.rows] == [task]
    assert [row.task.spec.title for row in snapshot.working.rows] == ["second thing"]
    story = await view.story(task)
    assert story is not None
    assert len(story.events) == 4
    assert (await view.backlog()).items[9].id == task
    assert len(await view.events(Asked(), 3)) == 3
    assert clone.snapshot() == files


async def test_a_clone_in_which_no_hub_ever_ran_says_what_to_do(clone: Clone) -> None:
    view = CloneShowing(survey(clone.path))
    snapshot = take(await view.seen())
    assert snapshot.sentence == "No hub has run in this repository yet: start one with `agentcom hub`."
    assert (await view.backlog()).text == READY
    assert await view.story("t-1") is None
    assert await view.events(Asked(), 3) == ()


@pytest.mark.slow
def test_a_hub_serves_the_pages_and_ends_while_a_stream_is_open(clone: Clone) -> None:
    hub = HubProcess(clone.path).start()
    assert hub.ready, hub.said
    status, headers, text = fetch(f"{hub.url}/dashboard")
    assert (status, "first thing" in text) == (200, True)
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    connection, stream = ask(f"{hub.url}/dashboard/stream")
    assert stream.readline() == b"event: beat\n"
    assert hub.stop() == 0, hub.said
    connection.close()
    assert "Traceback" not in hub.said
    assert "ERROR" not in hub.said.upper()


@pytest.mark.slow
def test_a_request_of_another_method_changes_nothing_in_the_repository(clone: Clone) -> None:
    with HubProcess(clone.path) as hub:
        hub.client.post("/api/reconcile")
        state = clone.head("agentcom/state")
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for path in ("", "/stream", "/tasks", "/task/x", "/agents", "/backlog", "/activity", "/problems", "/enter"):
                status, headers, _ = fetch(f"{hub.url}/dashboard{path}", method, b"{}")
                assert status == 405, (method, path)
                assert "content-security-policy" in headers
        assert clone.head("agentcom/state") == state
