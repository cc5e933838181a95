"""A snapshot saves time and changes nothing else, whatever was done to it."""

import asyncio
import json
import os
import random
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.hubs import running
from support.repo import Clone, make_repo

from coordinator import memoir, snapshot
from coordinator.core.events import Actor
from coordinator.core.machine import Event
from coordinator.core.reconciler import Core
from coordinator.files.observe import Observer
from coordinator.git.journal import GitStore
from coordinator.git.repo import GitSource
from coordinator.ground import Ground, survey
from coordinator.hub import Hub
from coordinator.snapshot import Keeper, Snapshot, is_due
from coordinator.starting import make_hub
from coordinator.tasking import Tasking

#: Longest wait for something that must happen at once.
SOON = 30.0
FILES = {
    "BACKLOG.md": "# Ready\n\n- [ ] first thing\n- [ ] second thing !high\n",
    "tasks/t-1.yaml": "title: a file\nneeded_capabilities: [python]\nx-team: {size: 3, lead: ada}\n",
    "tasks/t-2.yaml": "title: waits\ndepends_on: [t-1]\ntimeout: 30m\n",
    "agents/gcu.yaml": "capabilities: [python]\n",
}


@pytest.fixture(autouse=True)
def no_other_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", FILES)


async def run_hub(clone: Clone, known: Snapshot | None = None) -> None:
    """Let a hub observe what is committed."""
    hub = make_hub(survey(clone.path), snapshot=known)
    try:
        await hub.start()
    finally:
        hub.close()


def believed(ground: Ground, known: Snapshot) -> tuple[str, ...]:
    """Return everything that a hub would believe at its start, down to the type of each number."""
    store = GitStore(ground.repo, ground.root, days=known.days)
    source = GitSource(ground.repo, ground.source_ref, ground.root)
    core, fold = Core(), store.load()
    observer = Observer(source, ground.branch, ground.root, known.readings)
    rebuilt = memoir.rebuild(core, fold, observer, store, source, readings=known.readings)
    memory = core.memory
    return (
        repr(fold),
        repr(sorted(memory.tasks.items())),
        repr(sorted(memory.closed)),
        repr(sorted(memory.agents.items())),
        repr((memory.policy, memory.held, sorted(memory.wanted), sorted(memory.later.items()))),
        repr(rebuilt),
    )


def taken(clone: Clone) -> Ground:
    ground = survey(clone.path)
    snapshot.take(ground)
    return ground


class Person:
    """Somebody who edits everything, by chance and not always rightly."""

    def __init__(self, clone: Clone, seed: int) -> None:
        self._clone = clone
        self._rng = random.Random(seed)  # noqa: S311 - a repeatable history
        self._lines = ["- [ ] first thing", "- [ ] second thing !high"]
        self._known = 2

    def edits(self) -> None:
        for _ in range(self._rng.randint(1, 4)):
            self._rng.choice([self._line, self._line, self._mark, self._file, self._file, self._agent, self._policy])()
        self._clone.commit({"BACKLOG.md": "# Ready\n\n" + "".join(f"{line}\n" for line in self._lines)})

    def _line(self) -> None:
        self._known += 1
        more = self._rng.choice(["", " !urgent", " due:2026-12-01", " due:soon", " needs:python", " depends:t-1"])
        self._lines.insert(self._rng.randint(0, len(self._lines)), f"- [ ] chore number {self._known}{more}")

    def _mark(self) -> None:
        at = self._rng.randrange(len(self._lines))
        self._lines[at] = self._lines[at].replace("[ ]", self._rng.choice(["[x]", "[-]", "[ ]"]))

    def _file(self) -> None:
        name = self._rng.randint(1, 6)
        more = self._rng.choice(
            ["", "cancel: true\n", "rerun: 1\n", "hold: true\n", "titel: x\n", "metadata: {a: 1.5}\n"]
        )
        gone = name > 2 and self._rng.random() < 0.3 and (self._clone.path / f"tasks/t-{name}.yaml").exists()
        text = None if gone else f"title: file {name}, {self._rng.randint(1, 3)}\n{more}"
        self._clone.write({f"tasks/t-{name}.yaml": text})

    def _agent(self) -> None:
        self._clone.write(
            {f"agents/a{self._rng.randint(1, 2)}.yaml": self._rng.choice(["disabled: true\n", "skils: x\n"])}
        )

    def _policy(self) -> None:
        lane = self._rng.choice(["ready", "draft", "never"])
        self._clone.write({"agentcom.yaml": f"lanes: {{Ready: {lane}}}\n"})


@pytest.mark.parametrize("seed", range(4))
async def test_memory_rebuilt_with_a_snapshot_is_memory_rebuilt_without_after_any_history(
    clone: Clone, seed: int
) -> None:
    person, rng = Person(clone, seed), random.Random(seed)  # noqa: S311 - a repeatable history
    await run_hub(clone)
    ground = taken(clone)
    used = 0
    for _ in range(6):
        person.edits()
        known = snapshot.read(ground)
        await run_hub(clone, known)
        known = snapshot.read(ground)
        assert believed(ground, known) == believed(ground, Snapshot())
        used += bool(known.readings.statuses.used)
        if rng.random() < 0.4:
            snapshot.take(ground)
    assert used
    assert clone.fsck() == ""


async def test_a_start_with_a_snapshot_parses_only_what_is_new(clone: Clone) -> None:
    await run_hub(clone)
    ground = taken(clone)
    clone.commit({"tasks/t-3.yaml": "title: new\n"})
    known = snapshot.read(ground)
    await run_hub(clone, known)
    assert known.forget() == 1
    known = snapshot.read(ground)
    believed(ground, known)
    assert known.forget() == 2  # its file, and the status it got


async def test_what_is_new_is_in_the_next_snapshot_and_what_is_gone_is_not(clone: Clone) -> None:
    await run_hub(clone)
    ground = taken(clone)
    clone.commit({"tasks/t-2.yaml": "title: waits no more\n", "tasks/t-1.yaml": None})
    await run_hub(clone)
    first = set(snapshot.read(ground).readings.tasks._known)
    snapshot.take(ground)
    known = snapshot.read(ground)
    assert len(set(known.readings.tasks._known) - first) == 1
    assert len(known.readings.tasks._known) == 1
    assert len(known.days) == 1
    believed(ground, known)
    assert known.forget() == 0


def empty(known: Snapshot) -> bool:
    return not known.days and not known.readings.statuses._known


async def test_a_snapshot_cut_off_anywhere_or_with_a_bit_turned_is_passed_over(clone: Clone) -> None:
    await run_hub(clone)
    ground = taken(clone)
    path, rng = snapshot.path_of(ground), random.Random(5)  # noqa: S311 - repeatable damage
    whole = path.read_bytes()
    assert not empty(snapshot.read(ground))
    cuts = [whole[: rng.randrange(len(whole))] for _ in range(100)] + [b"", whole + b"\n", whole[1:]]
    for _ in range(300):
        at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        cuts.append(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
    for damaged in cuts:
        path.write_bytes(damaged)
        assert empty(snapshot.read(ground))
    expected = believed(ground, Snapshot())
    assert believed(ground, snapshot.read(ground)) == expected
    snapshot.take(ground)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("other", ["SCHEMA_VERSION", "__version__", "_code"])
async def test_a_snapshot_of_another_version_is_passed_over(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    await run_hub(clone)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, other, (lambda: "0") if other == "_code" else "0")
        ground = taken(clone)
        assert not empty(snapshot.read(ground))
    assert empty(snapshot.read(ground))


async def test_the_snapshot_of_another_repository_is_passed_over(clone: Clone, tmp_path: Path) -> None:
    other = make_repo(tmp_path / "other", FILES)
    grounds = []
    for one in (clone, other):
        await run_hub(one)
        grounds.append(taken(one))
    snapshot.path_of(grounds[0]).write_bytes(snapshot.path_of(grounds[1]).read_bytes())
    assert empty(snapshot.read(grounds[0]))


async def test_a_snapshot_that_somebody_else_may_have_written_is_passed_over(clone: Clone) -> None:
    await run_hub(clone)
    ground = taken(clone)
    path = snapshot.path_of(ground)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o620)
    assert empty(snapshot.read(ground))
    path.chmod(0o600)
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    assert empty(snapshot.read(ground))


async def test_words_of_another_form_behind_a_right_checksum_are_passed_over(clone: Clone) -> None:
    await run_hub(clone)
    ground = taken(clone)
    for days, known in ((b"[]", b"{}"), (b"{}", b"{}"), (b'{"a": [1]}', b"[]"), (b"\xff", b"\xff")):
        snapshot.path_of(ground).write_bytes(b"\n".join((snapshot._head(ground, days, known), days, known)))
        assert empty(snapshot.read(ground))


async def test_a_file_whose_content_is_missing_is_named_also_where_a_snapshot_knows_it(clone: Clone) -> None:
    await run_hub(clone)
    ground = taken(clone)
    oid = clone.tree()["tasks/t-2.yaml"]
    (clone.path / f".git/objects/{oid[:2]}/{oid[2:]}").unlink()
    with_it, without = (believed(ground, known) for known in (snapshot.read(ground), Snapshot()))
    assert with_it == without
    assert "not in the repository" in with_it[-1]


@pytest.mark.parametrize(
    ("behind", "lately", "looks", "due"),
    [(999, 0, 1, False), (1_000, 0, 1, True), (1_000, 1, 1, False), (50_000, 9, 359, False), (50_000, 9, 360, True)],
)
def test_one_is_taken_when_it_is_worth_while_and_nothing_else_happens(
    behind: int, lately: int, looks: int, due: bool
) -> None:
    assert is_due(behind, lately, looks) is due


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not true():  # noqa: ASYNC110 - another process says when
            await asyncio.sleep(0.01)


@asynccontextmanager
async def started(clone: Clone, behind: int) -> AsyncIterator[Hub]:
    hub = make_hub(survey(clone.path))
    try:
        await hub.start()
        async with Keeper(survey(clone.path), behind, lambda: hub.figures.commits):
            yield hub
    finally:
        hub.close()


async def test_a_start_that_had_much_to_parse_is_followed_by_a_snapshot(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LOOK_EVERY_S", 0.01)
    ground = survey(clone.path)
    async with started(clone, snapshot.WORTH):
        await until(snapshot.path_of(ground).exists)
    assert believed(ground, snapshot.read(ground)) == believed(ground, Snapshot())
    assert not empty(snapshot.read(ground))


async def test_nothing_of_a_work_tree_runs_when_a_snapshot_is_taken(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    clone.commit({"yaml.py": trap, "json.py": trap, "coordinator/__init__.py": trap, "coordinator/snapshot.py": trap})
    monkeypatch.setattr(snapshot, "LOOK_EVERY_S", 0.01)
    monkeypatch.chdir(clone.path)
    async with started(clone, snapshot.WORTH):
        await until(snapshot.path_of(survey(clone.path)).exists)
    assert not (tmp_path / "ran").exists()


async def test_one_that_cannot_be_taken_is_a_line_in_the_log_and_nothing_else(
    clone: Clone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshot, "LOOK_EVERY_S", 0.01)
    await run_hub(clone)
    (clone.path / ".git/agentcom/snapshot.tmp").mkdir()
    async with started(clone, snapshot.WORTH):
        await until(lambda: "no snapshot was taken" in caplog.text)
    assert "snapshot.tmp" in caplog.text


async def test_a_hub_that_stops_ends_the_taking(clone: Clone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    program = f"import json, os, time; open({str(said)!r}, 'w').write(json.dumps(os.getpid())); time.sleep(600)"
    slow = tmp_path / "slow"
    slow.write_text(f"#!{sys.executable}\n{program}\n")
    slow.chmod(0o755)
    monkeypatch.setattr(snapshot, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(snapshot.sys, "executable", str(slow))
    async with started(clone, snapshot.WORTH):
        await until(lambda: said.exists() and said.read_text() != "")
        pid = json.loads(said.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_tasks_without_files_are_believed_with_a_snapshot_as_without(clone: Clone) -> None:
    async with running(clone) as hub:
        counter, by = Tasking(hub), Actor("person", "admin", "admin@agentcom.invalid")
        for number in range(3):
            values = {"title": f"made {number}", "metadata": {"n": 1.5}}
            made = await counter.make(
                counter.task_id("admin", None), values, by, proposal=number == 1, request="d1g3st"
            )
            assert not made.refused
        assert made.task is not None
        await counter.word(Event.CANCEL, made.task.id, by, "", None)
    ground = taken(clone)
    known = snapshot.read(ground)
    assert believed(ground, known) == believed(ground, Snapshot())
    assert known.readings.missed == 0
    assert sum("tasks/api/" in key for key in known.readings.made.used) == 2
