"""A running hub knows what is saved and not committed: off its loop, seldom, and with one line when it changes."""

import asyncio
import logging
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.repo import Clone, make_repo

from coordinator import saved as module
from coordinator.files.observe import Observer
from coordinator.files.uncommitted import Line, Uncommitted
from coordinator.git.journal import GitStore
from coordinator.git.repo import GitSource
from coordinator.git.run import GitError
from coordinator.ground import survey
from coordinator.hub import Hub, Identity
from coordinator.reading import picture
from coordinator.saved import Lookout, SavedWork, uncommitted_json
from coordinator.starting import SystemClock

ONE = Uncommitted((Line("BACKLOG.md", "changed", "BACKLOG.md: 1 new item is saved but not committed"),), "`git commit`")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "# B\n\n## Ready\n\n- one\n"})


class Asked:
    """What a look says; counts the looks, and holds them while ``gate`` is shut."""

    def __init__(self) -> None:
        self.answer: Uncommitted | Exception = Uncommitted()
        self.count = 0
        self.threads: set[int] = set()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> Uncommitted:
        self.count += 1
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.gate.wait(10)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_beats_look_once_in_a_while_and_never_on_the_loop() -> None:
    asked = Asked()
    async with Lookout(asked, every=3600) as lookout:
        for _ in range(5):
            lookout.beat()
        await lookout.refresh()
        before = asked.count
        lookout.beat()
        await asyncio.sleep(0)
        assert asked.count == before <= 2
        assert threading.get_ident() not in asked.threads


async def test_whoever_asks_is_told_of_an_edit_made_while_a_look_was_under_way() -> None:
    asked = Asked()
    asked.gate.clear()
    async with Lookout(asked) as lookout:
        lookout.beat()
        assert await asyncio.to_thread(asked.entered.wait, 10)
        waiting = asyncio.create_task(lookout.refresh())
        await asyncio.sleep(0)
        asked.gate.set()
        await waiting
        assert asked.count == 2


async def test_a_look_that_hangs_delays_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    asked = Asked()
    asked.gate.clear()
    async with Lookout(asked) as lookout:
        await lookout.refresh()
        assert lookout.seen == Uncommitted()
        asked.gate.set()


async def test_each_change_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    asked = Asked()
    async with Lookout(asked) as lookout:
        for answer in (Uncommitted(), ONE, ONE, Uncommitted(), Uncommitted()):
            asked.answer = answer
            await lookout.refresh()
            assert lookout.seen == answer
    said = [record.getMessage() for record in caplog.records if record.name == "agentcom.hub"]
    assert said == [str(ONE), "everything saved is committed"]


async def test_an_error_while_looking_is_logged_and_the_last_word_stands(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked()
    async with Lookout(asked) as lookout:
        asked.answer = ONE
        await lookout.refresh()
        asked.answer = RuntimeError("a bug")
        await lookout.refresh()
        assert lookout.seen == ONE
    assert "trying again" in caplog.text


async def test_after_the_end_no_beat_begins_a_look() -> None:
    asked = Asked()
    lookout = Lookout(asked)
    async with lookout:
        await lookout.refresh()
    before = asked.count
    lookout.beat()
    await asyncio.sleep(0)
    assert asked.count == before


def test_a_repository_that_cannot_be_read_is_reported_once_and_the_last_word_stands(
    clone: Clone, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = SavedWork(survey(clone.path))
    clone.write({"BACKLOG.md": "# B\n\n## Ready\n\n- one\n- two\n"})
    before = work.uncommitted()
    assert [line.text for line in before.lines] == ["BACKLOG.md: 1 new item is saved but not committed"]

    def broken(*_: object) -> None:
        raise GitError(("ls-tree",), 128, "not now")

    monkeypatch.setattr(work._files, "look", broken)
    assert work.uncommitted() == work.uncommitted() == before
    assert caplog.text.count("not now") == 1


def _no_hub_yet(clone: Clone) -> None: ...


def _state_there(clone: Clone) -> None:
    """Make the branch of a hub that is gone, as far as a reader looks."""
    ground = survey(clone.path)
    source = GitSource(ground.repo, ground.source_ref)
    identity = Identity("h-00000000", ground.source_ref)
    hub = Hub(GitStore(ground.repo), source, Observer(source, "main"), SystemClock(), identity)
    try:
        asyncio.run(hub.start())
    finally:
        hub.close()


@pytest.mark.parametrize("prepare", [_no_hub_yet, _state_there], ids=["no hub yet", "hub gone"])
def test_without_a_hub_the_picture_says_what_is_saved_and_not_committed(
    clone: Clone, prepare: Callable[[Clone], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTCOM_HUB", raising=False)
    prepare(clone)
    clone.write({"tasks/t-1.yaml": "title: one\n"})
    summary = picture(survey(clone.path), None).summary
    assert summary["uncommitted"] == [
        {"path": "tasks/t-1.yaml", "what": "new", "text": "tasks/t-1.yaml: new, saved but not committed"}
    ]
    assert summary["uncommitted_hint"] == (
        "`git add tasks/t-1.yaml && git commit tasks/t-1.yaml`, or let `agentcom watch --commit` do it"
    )


def test_the_command_that_is_shown_commits_what_is_shown(clone: Clone) -> None:
    clone.write({"BACKLOG.md": "- [ ] two\n", "tasks/a b.yaml": "title: one\n", "agents/x.yaml": "name: X\n"})
    clone.git("add", "agents/x.yaml")
    work = SavedWork(survey(clone.path))
    command = work.uncommitted().hint.split("`")[1].replace("git commit", "git commit -qm edit")
    subprocess.run(["sh", "-c", command], cwd=clone.path, check=True)
    assert uncommitted_json(work.uncommitted()) == {"uncommitted": [], "uncommitted_hint": ""}
    assert clone.git("status", "--porcelain") == ""
