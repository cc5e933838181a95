"""Housekeeping in real repositories, beside real writers; only the clock is the test's own."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.crashes import wait_until
from support.repo import Clone, git_env, make_repo

from coordinator.git import housekeeping
from coordinator.git.chores import COMMITS, PACKS, Step
from coordinator.git.history import log
from coordinator.git.housekeeping import Housekeeping
from coordinator.git.journal import HUB_ATTRIBUTES, Engine, GitStore
from coordinator.git.message import compose
from coordinator.git.recovery import BACKUP_REF
from coordinator.git.repo import STATE_REF, read_ref
from coordinator.ports import Author, Commit

pytestmark = pytest.mark.slow

HUB = Author("AgentCom hub", "hub@agentcom.invalid")


class World:
    """A repository, a hub's store in it, and the housekeeping with a clock that only the test turns."""

    def __init__(self, clone: Clone, engine: Engine = "pack") -> None:
        self.clone = clone
        self.store = GitStore(clone.repo, engine=engine)
        self.commits = 0
        self.now = 0.0
        self.writable = True
        self.flush(1)
        self.keeper = self.new_keeper()

    def new_keeper(self) -> Housekeeping:
        return Housekeeping(
            self.clone.repo, lambda: self.store.tip, lambda: self.commits, lambda: self.writable, lambda: self.now
        )

    def flush(self, count: int, batch: int = 1) -> None:
        """Let the hub flush so often, so many commits at a time."""
        for _ in range(count):
            commits = []
            for _ in range(batch):
                self.commits += 1
                name = f"t-{self.commits % 7}"
                trailers = [("Agentcom-Task", name), ("Agentcom-Epoch", "1/h-aaaaaaaa")]
                message = compose(f"{name}: change {self.commits}", "", trailers)
                content = f"{self.commits}\n".encode() * 20
                puts = {f"status/open/{name}.yaml": content} | (HUB_ATTRIBUTES if self.commits == 1 else {})
                commits.append(Commit(message, HUB, 1000 * self.commits, puts))
            self.store.flush(tuple(commits))

    def later(self, seconds: float = 1e6) -> list[Step]:
        """Turn the clock, then let the housekeeping do all that is due; return what it did."""
        self.now += seconds
        done: list[Step] = []
        while (step := self.keeper.beat()) is not None:
            done.append(step)
        return done

    @property
    def folder(self) -> Path:
        return self.clone.repo.common_dir / "objects/pack"

    @property
    def packs(self) -> set[str]:
        return {path.name for path in self.folder.glob("*.pack")}

    @property
    def backup(self) -> str | None:
        return read_ref(self.clone.repo, BACKUP_REF)

    @property
    def said(self) -> str:
        return "\n".join(map(str, self.keeper.troubles))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n"}))


@pytest.fixture
def fake_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Let one git command be a shell script; all others are git's own."""

    def fake(command: str, script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        real = shutil.which("git")
        head = f'#!/bin/sh\nfor word in "$@"; do\n  if [ "$word" = {command} ]; then\n'
        (folder / "git").write_text(f'{head}{script}\n  fi\ndone\nexec {real} "$@"\n')
        (folder / "git").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return fake


def loose(world: World) -> list[Path]:
    return [path for path in (world.clone.path / ".git/objects").glob("[0-9a-f][0-9a-f]/*") if path.is_file()]


# --- what it does ---------------------------------------------------------------------------------------------------


def test_many_packs_become_few_and_every_commit_stays(world: World) -> None:
    world.flush(PACKS)
    before = log(world.clone.repo, STATE_REF, limit=None)
    assert world.later() == [Step.REPACK, Step.GRAPH, Step.CHECK]
    assert len(world.packs) <= 3
    assert log(world.clone.repo, STATE_REF, limit=None) == before
    assert world.clone.fsck() == ""
    assert world.keeper.troubles == ()
    assert world.later() == []


def test_objects_that_people_left_loose_are_packed_too(world: World) -> None:
    world.clone.commit({"a": "a\n", "b": "b\n"})
    assert len(loose(world)) > 3
    world.flush(PACKS)
    world.later()
    assert loose(world) == []
    assert world.clone.fsck() == ""


def test_the_last_tip_that_is_whole_is_backed_up_and_follows(world: World) -> None:
    assert world.backup is None
    assert world.later() == [Step.GRAPH, Step.CHECK]
    first = world.store.tip
    assert world.backup == first
    world.flush(1)
    assert world.later(1.0) == []
    assert world.backup == first
    world.later()
    assert world.backup == world.store.tip != first


def test_new_commits_get_changed_path_filters(world: World) -> None:
    world.later()
    world.flush(1, COMMITS)
    assert Step.GRAPH in world.later()
    layers = (world.clone.path / ".git/objects/info/commit-graphs").glob("*.graph")
    assert all(b"BIDX" in layer.read_bytes() for layer in layers)
    env = git_env(GIT_TRACE2_PERF="1")
    argv = ["git", "rev-list", "--first-parent", STATE_REF, "--", "status/open/t-1.yaml"]
    traced = subprocess.run(argv, cwd=world.clone.path, env=env, capture_output=True, text=True, check=True).stderr
    assert '"filter_not_present":0' in traced
    assert world.clone.git("commit-graph", "verify") == ""


def test_a_graph_that_a_persons_gc_wrote_gets_filters(world: World) -> None:
    world.clone.git("gc", "-q")
    assert b"BIDX" not in (world.clone.path / ".git/objects/info/commit-graph").read_bytes()
    world.later()
    layers = [path for path in (world.clone.path / ".git/objects/info").rglob("*graph*") if path.suffix == ".graph"]
    assert layers
    assert all(b"BIDX" in layer.read_bytes() for layer in layers)
    assert not (world.clone.path / ".git/objects/info/commit-graph").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("how", "engine"), [("--bare", "pack"), ("--object-format=sha256", "plain")])
def test_a_bare_repository_and_one_with_sha256_ids_are_kept_as_well(tmp_path: Path, how: str, engine: Engine) -> None:
    clone = make_repo(tmp_path / "repo", None, how)
    world = World(clone, engine)
    world.flush(PACKS)
    assert world.later() == [Step.REPACK, Step.GRAPH, Step.CHECK]
    assert clone.fsck() == "notice: HEAD points to an unborn branch (main)"
    assert world.backup == world.store.tip
    assert world.said == ""


# --- beside others --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["pack", "plain"])
def test_a_hub_that_writes_all_the_time_loses_nothing_to_it(tmp_path: Path, engine: Engine) -> None:
    world = World(make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n"}), engine)
    wrong: list[BaseException] = []

    def write() -> None:
        try:
            world.flush(400 if engine == "pack" else 150)
        except BaseException as error:
            wrong.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    steps: list[Step] = []
    most = 0
    while writer.is_alive():
        world.keeper._ledger = housekeeping.chores.Ledger(packs=-PACKS)  # a repack and a graph at every turn
        world.now += 1e6
        for _ in range(2):
            steps += filter(None, [world.keeper.beat()])
        most = max(most, len(world.packs))
    writer.join()
    assert wrong == []
    assert steps.count(Step.REPACK) > 3
    world.later()
    assert world.said == ""
    assert world.clone.fsck() == ""
    assert len(log(world.clone.repo, STATE_REF, limit=None)) == world.commits
    assert most < 200


@pytest.mark.slow
def test_a_person_who_collects_garbage_at_the_same_time_does_no_harm(world: World) -> None:
    ended = threading.Event()

    def collect() -> None:
        while not ended.is_set():
            world.clone.git("gc", "-q", "--prune=now", check=False)
            world.clone.git("repack", "-a", "-d", "-q", check=False)

    person = threading.Thread(target=collect)
    person.start()
    try:
        until = time.monotonic() + 8
        while time.monotonic() < until:
            world.flush(10)
            world.keeper._ledger = housekeeping.chores.Ledger(packs=-PACKS)
            world.now += 1e6
            for _ in range(3):
                world.keeper.beat()
    finally:
        ended.set()
        person.join()
    world.later()
    assert world.clone.fsck() == ""
    assert len(log(world.clone.repo, STATE_REF, limit=None)) == world.commits
    assert world.later() == []
    assert world.backup == world.store.tip


@pytest.mark.slow
def test_a_hub_that_stops_in_the_middle_of_a_repack_leaves_every_object(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BEAT", 0.001)
    for pause in range(40):
        world.flush(5)
        keeper = world.new_keeper()
        keeper._ledger = housekeeping.chores.Ledger(packs=-PACKS, graphed=world.commits)
        keeper.start()
        time.sleep(0.002 * pause)  # anywhere in the repack, also before and after it
        keeper.stop()
    assert world.clone.fsck() == ""
    assert len(log(world.clone.repo, STATE_REF, limit=None)) == world.commits
    world.flush(PACKS)
    world.keeper = world.new_keeper()
    assert Step.REPACK in world.later()
    assert len(world.packs) <= 8


def test_packs_that_a_person_keeps_stay_as_they_are(world: World) -> None:
    world.flush(5)
    kept = sorted(world.packs)[0]
    (world.folder / kept).with_suffix(".keep").write_text("mine\n")
    world.flush(PACKS)
    assert Step.REPACK in world.later()
    assert kept in world.packs
    assert (world.folder / kept).with_suffix(".keep").read_text() == "mine\n"
    assert world.clone.fsck() == ""


def test_nothing_is_done_while_a_gc_of_somebody_else_runs(world: World) -> None:
    world.flush(PACKS)
    pid_file = world.clone.path / ".git/gc.pid"
    pid_file.write_text(f"{os.getpid()} {os.uname().nodename}")
    assert world.later() == []
    pid_file.write_text(f"{2**22 + 1} {os.uname().nodename}")
    assert Step.REPACK in world.later()


def test_nothing_is_done_while_maintenance_of_somebody_else_runs(world: World) -> None:
    world.flush(PACKS)
    lock = world.clone.path / ".git/objects/maintenance.lock"
    lock.touch()
    assert world.later() == []
    os.utime(lock, (0, 0))
    assert Step.REPACK in world.later()


def test_nothing_is_done_while_a_pack_of_somebody_else_grows(world: World) -> None:
    world.flush(PACKS)
    theirs = world.folder / "tmp_pack_AbCdEf"
    theirs.write_bytes(b"PACK")
    world.keeper.beat()
    theirs.write_bytes(b"PACK....")
    assert world.later() == []
    assert theirs.exists()


def test_nothing_is_done_beside_the_git_of_a_hub_that_was_killed(world: World) -> None:
    world.flush(PACKS)
    with world.new_keeper()._lock.hold(0):
        assert world.later() == []
    assert Step.REPACK in world.later()


def test_nothing_is_done_while_the_hub_cannot_write(world: World) -> None:
    world.flush(PACKS)
    world.writable = False
    assert world.later() == []


def test_a_repository_that_borrows_objects_is_not_repacked(world: World, tmp_path: Path) -> None:
    lender = make_repo(tmp_path / "lender", {"a": "x"})
    alternates = world.clone.path / ".git/objects/info/alternates"
    alternates.write_text(f"{lender.path / '.git/objects'}\n")
    world.flush(PACKS)
    assert world.later() == [Step.GRAPH, Step.CHECK]


# --- when something is wrong ----------------------------------------------------------------------------------------


def test_damage_is_said_and_the_backup_stays_where_the_branch_was_whole(world: World) -> None:
    world.later()
    whole = world.store.tip
    world.flush(1)
    pack = next(path for path in world.folder.glob("*.pack") if world.store.tip in _holds(world, path))
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.write_bytes(data)
    assert Step.CHECK in world.later()
    assert world.backup == whole
    assert "git fsck finds damage" in world.said
    assert f"{BACKUP_REF} stays at {whole[:12]}" in world.said


def test_packs_that_somebody_rolls_up_during_the_check_are_no_damage(
    world: World, tmp_path: Path, fake_git: Callable[[str, str], None]
) -> None:
    world.flush(10)
    packs = f"{world.folder}/pack-*.idx"
    fake_git("fsck", f"    rm $(ls {packs} | head -n 1); echo 'error: packfile cannot be accessed' >&2; exit 1")
    world.later()
    assert world.said == "fsck failed: packs went away while git looked at them, somebody else rolls them up"
    assert world.backup is None


def _holds(world: World, pack: Path) -> str:
    return world.clone.git("show-index", input=pack.with_suffix(".idx").read_bytes())


def test_a_missing_object_is_named(world: World) -> None:
    oid = world.clone.git("hash-object", "-w", "--stdin", input=b"lost\n")
    world.store.flush((Commit("x\n\nAgentcom-Epoch: 1/h-aaaaaaaa", HUB, 0, {"status/open/x.yaml": b"lost\n"}),))
    pack = next(path for path in world.folder.glob("*.pack") if world.store.tip in _holds(world, path))
    where = world.clone.git("unpack-objects", "-q", input=_taken_away(pack))
    assert where == ""
    (world.clone.path / ".git/objects" / oid[:2] / oid[2:]).unlink()
    world.later()
    assert f"missing blob {oid}" in world.said
    assert world.backup is None


def _taken_away(pack: Path) -> bytes:
    data = pack.read_bytes()
    pack.unlink()
    pack.with_suffix(".idx").unlink()
    return data


def test_what_a_persons_tool_wrote_badly_long_ago_is_no_damage(world: World) -> None:
    tree = world.clone.git("rev-parse", "HEAD^{tree}")
    ill = f"tree {tree}\nauthor Ada <ada@example.org 0 +0000\ncommitter Ada <ada@example.org> 0 +0000\n\nold\n"
    oid = world.clone.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", input=ill.encode())
    world.clone.git("branch", "old", oid)
    assert "error in commit" in world.clone.fsck()
    world.later()
    assert world.said == ""
    assert world.backup == world.store.tip


def test_a_broken_commit_graph_is_made_anew(world: World) -> None:
    world.later()
    (layer,) = (world.clone.path / ".git/objects/info/commit-graphs").glob("*.graph")
    layer.chmod(0o644)
    layer.write_bytes(layer.read_bytes()[:100])
    world.flush(1, COMMITS)
    world.later()
    assert world.said == ""
    assert world.clone.git("commit-graph", "verify") == ""


def test_a_wrong_commit_graph_is_noticed_by_the_check(world: World) -> None:
    world.flush(20)
    world.later()
    (layer,) = (world.clone.path / ".git/objects/info/commit-graphs").glob("*.graph")
    layer.chmod(0o644)
    data = bytearray(layer.read_bytes())
    data[len(data) // 2] ^= 0xFF
    layer.write_bytes(data)
    world.flush(1)
    world.now += 1000.0
    assert [world.keeper.beat() for _ in range(3)] == [Step.CHECK, Step.GRAPH, None]
    assert world.said == ""
    assert world.clone.git("commit-graph", "verify") == ""


def test_a_commit_that_a_person_takes_back_and_prunes_is_not_missed(world: World) -> None:
    world.clone.commit({"a": "a\n"})
    world.later()
    world.clone.git("reset", "-q", "--hard", "HEAD~1")
    world.clone.git("reflog", "expire", "--expire=now", "--all")
    world.clone.git("prune", "--expire=now")
    assert world.clone.fsck() == ""


def test_without_room_nothing_is_written_and_a_line_says_how_much_is_needed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.flush(PACKS)
    before = world.packs
    usage = shutil.disk_usage(world.folder)
    monkeypatch.setattr(housekeeping.shutil, "disk_usage", lambda _: usage._replace(free=5 << 20))
    assert world.later() == [Step.REPACK, Step.GRAPH, Step.CHECK]
    assert "MiB must be free to roll up the packs and 5 MiB are" in world.said
    assert world.packs == before
    monkeypatch.undo()
    assert Step.REPACK in world.later()
    assert world.said == ""


def test_what_a_failed_repack_leaves_is_removed_and_what_others_write_is_not(
    world: World, tmp_path: Path, fake_git: Callable[[str, str], None]
) -> None:
    world.flush(PACKS)
    (world.folder / "tmp_pack_theirs").write_bytes(b"PACK")
    ours, held = world.folder / "tmp_pack_ours", world.folder / "tmp_pack_held"
    fake_git(
        "repack",
        f"    echo PACK | tee {ours} > {held}; sleep 600 < {held} > /dev/null 2>&1 & echo $! > {tmp_path}/pid\n"
        "    echo 'fatal: No space left on device' >&2; exit 128",
    )
    world.now = 1e6
    assert world.keeper.beat() is Step.REPACK
    assert "repack failed: fatal: No space left on device" in world.said
    assert not ours.exists()
    world.keeper.beat()
    assert held.exists()
    _kill(int((tmp_path / "pid").read_text()))
    world.keeper.beat()
    assert not held.exists()
    assert (world.folder / "tmp_pack_theirs").exists()


def test_what_a_git_left_that_died_hours_ago_is_removed_and_holds_up_nothing(world: World) -> None:
    world.flush(PACKS)
    info = world.clone.path / ".git/objects/info"
    (info / "commit-graphs").mkdir()
    old = [world.folder / "tmp_pack_old", world.folder / "multi-pack-index.lock"]
    old += [info / "commit-graphs/commit-graph-chain.lock", info / "commit-graphs/tmp_graph_old"]
    for path in old:
        path.write_bytes(b"PACK")
        os.utime(path, (time.time() - 7200,) * 2)
    world.keeper.beat()
    assert world.later() == [Step.REPACK, Step.GRAPH, Step.CHECK]
    assert world.said == ""
    assert not any(path.exists() for path in old)


def test_a_git_that_does_not_know_a_step_is_one_line_and_the_others_go_on(
    world: World, fake_git: Callable[[str, str], None]
) -> None:
    world.flush(PACKS)
    fake_git("repack", "    echo \"error: unknown option 'geometric=2'\" >&2; exit 129")
    assert world.later() == [Step.REPACK, Step.GRAPH, Step.CHECK]
    assert world.said == "repack failed: error: unknown option 'geometric=2'"
    assert world.backup == world.store.tip


# --- the thread -----------------------------------------------------------------------------------------------------


@pytest.fixture
def short_beat(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(housekeeping, "BEAT", 0.01)
    return


@pytest.mark.usefixtures("short_beat")
def test_it_runs_by_itself_at_the_lowest_priority(
    world: World, tmp_path: Path, fake_git: Callable[[str, str], None]
) -> None:
    fake_git("fsck", f"    nice > {tmp_path}/niceness")
    world.now = 1e6
    world.keeper.start()
    try:
        wait_until(lambda: world.backup == world.store.tip, "the backup of the last commit")
    finally:
        world.keeper.stop()
    assert (tmp_path / "niceness").read_text() == "19\n"


@pytest.mark.usefixtures("short_beat")
def test_a_hub_that_stops_ends_what_runs_and_says_nothing_of_it(
    world: World, tmp_path: Path, fake_git: Callable[[str, str], None]
) -> None:
    world.flush(PACKS)
    os.mkfifo(tmp_path / "started")
    fake_git("repack", f"    sleep 600 & echo $! > {tmp_path}/started; wait")
    world.now = 1e6
    world.keeper.start()
    sleeping = int((tmp_path / "started").read_text())
    world.keeper.stop()
    wait_until(lambda: not _alive(sleeping), "the end of what git had started")
    assert world.said == ""
    assert world.clone.fsck() == ""


@pytest.mark.usefixtures("short_beat")
@pytest.mark.parametrize(
    ("command", "lock"),
    [("repack", "pack/multi-pack-index.lock"), ("commit-graph", "info/commit-graphs/commit-graph-chain.lock")],
)
def test_a_hub_that_stops_takes_the_locks_away_that_its_git_leaves(
    world: World, tmp_path: Path, fake_git: Callable[[str, str], None], command: str, lock: str
) -> None:
    path = world.clone.path / ".git/objects" / lock
    path.parent.mkdir(exist_ok=True)
    if command == "repack":
        world.flush(PACKS)
    os.mkfifo(tmp_path / "started")
    fake_git(command, f"    echo > {path}; echo > {tmp_path}/started; sleep 600")
    world.now = 1e6
    world.keeper.start()
    (tmp_path / "started").read_text()
    assert path.exists()
    world.keeper.stop()
    assert not path.exists()


@pytest.mark.usefixtures("short_beat")
def test_a_hub_that_stops_waits_a_moment_for_a_git_that_dies_after_its_parent(
    world: World, tmp_path: Path, fake_git: Callable[[str, str], None]
) -> None:
    path = world.clone.path / ".git/objects/info/commit-graphs/commit-graph-chain.lock"
    path.parent.mkdir(exist_ok=True)
    slow = tmp_path / "git-slow"
    slow.write_text(f"#!/bin/sh\ntrap 'sleep 0.3; exit' TERM\necho > {tmp_path}/started\nsleep 600 & wait\n")
    slow.chmod(0o755)
    os.mkfifo(tmp_path / "started")
    fake_git("commit-graph", f"    echo > {path}; cd {world.clone.path}; {slow} >/dev/null 2>&1 & wait")
    world.now = 1e6
    world.keeper.start()
    (tmp_path / "started").read_text()
    world.keeper.stop()
    assert not path.exists()


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not _alive(pid), "the end of a killed process")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
