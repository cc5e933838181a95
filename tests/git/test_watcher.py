"""The watcher notices every change of its refs, with hints and without, and leaves nothing behind."""

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.repo import Clone, make_repo

from coordinator.git import hints
from coordinator.git import watcher as module
from coordinator.git.watcher import Watcher

REFS = ("refs/heads/main", "refs/heads/agentcom/state")
#: So rarely that a test which passes has been told by a hint.
RARELY = 3600.0
#: So often that a test which passes needs no hint.
OFTEN = 0.02


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n"})


class Looks:
    """Counts looks and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    async def __call__(self) -> None:
        self.count += 1
        self._changed.set()

    async def next(self) -> None:
        async with asyncio.timeout(10):
            await self._changed.wait()
        self._changed.clear()


async def test_it_looks_once_at_the_start(clone: Clone) -> None:
    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, RARELY):
        await looks.next()
    assert looks.count == 1


CHANGES: dict[str, Callable[[Clone], object]] = {
    "commit": lambda clone: clone.commit({"BACKLOG.md": "- [ ] two\n"}),
    "state branch born": lambda clone: clone.git("branch", "agentcom/state"),
    "branch deleted": lambda clone: clone.git("update-ref", "-d", "refs/heads/main"),
}


@pytest.mark.parametrize("every", [RARELY, OFTEN], ids=["by hint", "by looking"])
@pytest.mark.parametrize("change", list(CHANGES))
async def test_it_looks_again_when_a_ref_changes(
    clone: Clone, change: str, every: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if every == OFTEN:
        monkeypatch.setattr(hints.Hints, "on_any_event", lambda self, event: None)
    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, every):
        await looks.next()
        CHANGES[change](clone)
        await looks.next()


async def test_packing_and_other_branches_are_no_change(clone: Clone) -> None:
    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, OFTEN):
        await looks.next()
        clone.git("pack-refs", "--all", "--prune")
        clone.git("branch", "other")
        clone.commit({"a": "x"})
        await looks.next()
    assert looks.count == 2


async def test_a_ref_written_over_a_packed_one_is_noticed(clone: Clone) -> None:
    clone.git("pack-refs", "--all", "--prune")
    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, RARELY):
        await looks.next()
        clone.commit({"a": "x"})
        await looks.next()


async def test_it_survives_the_refs_folder_vanishing(clone: Clone) -> None:
    looks = Looks()
    refs = clone.path / ".git/refs"
    async with Watcher(clone.repo, REFS, looks, OFTEN):
        await looks.next()
        shutil.copytree(refs, clone.path / "kept")
        shutil.rmtree(refs)
        await looks.next()
        shutil.copytree(clone.path / "kept", refs)
        await looks.next()
        clone.commit({"a": "x"})
        await looks.next()


async def test_a_look_that_fails_is_made_again(clone: Clone, caplog: pytest.LogCaptureFixture) -> None:
    calls = 0
    done = asyncio.Event()

    def look() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("not yet")
        done.set()

    async with Watcher(clone.repo, REFS, look, OFTEN), asyncio.timeout(10):
        await done.wait()
    assert "trying again" in caplog.text


async def test_a_ref_that_cannot_be_read_is_reported_and_looked_at_again(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = asyncio.Event()
    monkeypatch.setattr(module._log, "warning", lambda *_: reported.set())
    main = clone.path / ".git/refs/heads/main"
    good = main.read_text()
    main.write_text("garbage")
    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, OFTEN):
        async with asyncio.timeout(10):
            await reported.wait()
        main.write_text(good)
        await looks.next()


async def test_without_hints_it_looks_regularly(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_watches_left(self: object, *_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(hints.Observer, "schedule", no_watches_left)
    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, OFTEN):
        await looks.next()
        clone.commit({"a": "x"})
        await looks.next()
    assert "by looking alone" in caplog.text


async def test_a_poke_looks_at_once(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints.Hints, "on_any_event", lambda self, event: None)
    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, RARELY) as watcher:
        await looks.next()
        clone.commit({"a": "x"})
        watcher.poke()
        await looks.next()


async def test_it_beats_at_every_look_changed_or_not(clone: Clone) -> None:
    beats = 0
    enough = asyncio.Event()

    def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            enough.set()

    looks = Looks()
    async with Watcher(clone.repo, REFS, looks, OFTEN, beat), asyncio.timeout(10):
        await enough.wait()
    assert looks.count == 1


@pytest.mark.parametrize("steps", range(5))
async def test_a_hint_in_the_moment_of_stopping_does_not_keep_it_alive(clone: Clone, steps: int) -> None:
    looks = Looks()
    watcher = Watcher(clone.repo, REFS, looks, RARELY)
    await watcher.start()
    await looks.next()
    for _ in range(10):  # until it waits again
        await asyncio.sleep(0)
    watcher.poke()
    for _ in range(steps):
        await asyncio.sleep(0)
    done, _ = await asyncio.wait({asyncio.create_task(watcher.stop())}, timeout=10)
    assert done


async def test_it_stops_in_the_middle_of_a_look_and_leaves_no_thread_or_task(clone: Clone) -> None:
    before = set(threading.enumerate())
    entered = asyncio.Event()

    async def endless() -> None:
        entered.set()
        await asyncio.Event().wait()

    watcher = Watcher(clone.repo, REFS, endless, RARELY)
    await watcher.start()
    await entered.wait()
    await watcher.stop()
    await watcher.stop()
    assert set(threading.enumerate()) <= before
    assert asyncio.all_tasks() == {asyncio.current_task()}
