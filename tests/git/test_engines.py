"""Both engines of the journal, side by side: the same events give the same commits, whatever happens meanwhile."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.disks import filled, small_disk
from support.repo import Clone, git_env, make_bare, make_repo

from coordinator.git import leftovers, packwriter, reflock, statetree
from coordinator.git.journal import HUB_ATTRIBUTES, Engine, GitStore
from coordinator.git.message import compose
from coordinator.git.pack import BLOB, TREE, Pack, object_id
from coordinator.git.packwriter import KEEP, TEMPORARY
from coordinator.git.parts import Layout
from coordinator.git.repo import STATE_REF, find_repo
from coordinator.git.statetree import StateTree
from coordinator.ports import Author, Commit, Conflict, Fatal, ReadOnly, Slipped

HUB = Author("AgentCom hub", "hub@agentcom.invalid")
STATE = "agentcom/state"


def commit(
    puts: dict[str, bytes] | None = None,
    source: str | None = None,
    deletes: tuple[str, ...] = (),
    author: Author = HUB,
    time_ms: int = 1_764_000_000_999,
    body: str = "",
) -> Commit:
    trailers = [("Agentcom-Epoch", "1/h-aaaaaaaa")]
    if source is not None:
        trailers.append(("Agentcom-Source", source))
    return Commit(compose("t-1: queued", body, trailers), author, time_ms, puts or {}, deletes, source)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n", "src/app.py": "print()\n"})


@pytest.fixture
def store(clone: Clone) -> GitStore:
    """A store of the pack engine whose claim observed the first commit."""
    store = GitStore(clone.repo, engine="pack")
    store.flush((commit({**HUB_ATTRIBUTES, "status/open/t-1.yaml": b"0"}, clone.head()),))
    return store


def packs(clone: Clone) -> Path:
    return clone.path / ".git/objects/pack"


# --- the same commits -----------------------------------------------------------------------------------------------

#: Few names, so that they meet: as files, as folders, above and below one another.
_NAMES = ["a", "b", "a.b", "a0", "a b", "é", "t-1.yaml"]
_HUB_PATHS = st.builds(
    lambda folder, parts: "/".join((folder, *parts)),
    st.sampled_from(["status", "status", "tasks/backlog", "tasks/api", "agents/api"]),
    st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3),
)
_PEOPLE = ["BACKLOG.md", "src/a", "src/b/c", "tasks/a.yaml", "tasks/backlog0", "agents/b.yaml", "z", "status/x", ".x/y"]


@dataclass(frozen=True)
class Change:
    """One commit to be: ``observes`` is the number of a source commit, None for none."""

    puts: dict[str, bytes]
    deletes: tuple[str, ...]
    author: str
    seconds: int
    body: str
    observes: int | None


_CHANGES = st.builds(
    Change,
    st.dictionaries(_HUB_PATHS, st.binary(max_size=3) | st.binary(min_size=300, max_size=310), max_size=4),
    st.lists(_HUB_PATHS, max_size=2).map(tuple),
    st.text(max_size=8),
    st.integers(0, 4_000_000_000),
    st.text(max_size=12),
    st.none() | st.integers(0, 3),
)
_SCRIPTS = st.lists(st.lists(_CHANGES, min_size=1, max_size=4), min_size=1, max_size=5)
_SOURCES = st.lists(st.sets(st.sampled_from(_PEOPLE)), min_size=4, max_size=4)


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repo(tmp_path_factory.mktemp("seed") / "repo", {"first": "x"}).path


@pytest.mark.slow
@pytest.mark.parametrize("root", [".", "deep/er"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=_SCRIPTS, sources=_SOURCES)
@example(
    script=[
        [Change({"status/a": b"1"}, (), "", 0, "", None)],
        [Change({"status/a/b": b"2"}, (), "", 0, "", 0), Change({"status/a": b"3"}, ("status/a/b",), "", 0, "", 1)],
        [Change({}, ("status/a",), "", 0, "", 2)],
    ],
    sources=[set(_PEOPLE), set(), {"tasks/a.yaml"}, set()],
)
def test_both_engines_write_the_same_commits(
    seed: Path, root: str, script: list[list[Change]], sources: list[set[str]]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        first = Clone(shutil.copytree(seed, Path(place) / "pack"))
        made = []
        for number, names in enumerate(sources):
            files = {(name if root == "." else f"{root}/{name}"): f"{number}" for name in names}
            made.append(source_commit(first, {**files, "top": "x"}))
        clones = [first, Clone(shutil.copytree(first.path, Path(place) / "plain"))]
        tips = []
        for clone, engine in zip(clones, ("pack", "plain"), strict=True):
            store = GitStore(clone.repo, root, engine=engine)  # type: ignore[arg-type]
            tips.append([store.flush(tuple(as_commit(change, made) for change in batch)) for batch in script])
            assert clone.fsck() == ""
        assert tips[0] == tips[1]
        folds = [GitStore(clone.repo, root).load() for clone in clones]
        assert folds[0] == folds[1]


def source_commit(clone: Clone, files: dict[str, str]) -> str:
    """Commit a whole tree of its own, on nothing, without touching a branch; return its id."""
    index = clone.path / ".git/test-index"
    index.unlink(missing_ok=True)
    env = git_env(
        GIT_INDEX_FILE=str(index), GIT_AUTHOR_DATE="@1000000000 +0000", GIT_COMMITTER_DATE="@1000000000 +0000"
    )

    def git(*argv: str, data: str = "") -> str:
        done = subprocess.run(["git", *argv], cwd=clone.path, input=data, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    blob = {text: git("hash-object", "-w", "--stdin", data=text) for text in set(files.values())}
    rows = "".join(f"100644 {blob[text]}\t{name}\n" for name, text in files.items())
    git("update-index", "--index-info", data=rows)
    return git("commit-tree", "-m", "source", git("write-tree"))


def as_commit(change: Change, sources: list[str]) -> Commit:
    source = None if change.observes is None else sources[change.observes]
    author = Author(change.author, "a@x")
    return commit(change.puts, source, change.deletes, author, change.seconds * 1000, change.body)


@given(
    st.lists(st.sets(st.sampled_from([f"status/closed/2026/{m:02}/{d:02}/t" for m in (1, 2) for d in (1, 2, 3)]))),
)
@settings(max_examples=30)
def test_folders_that_were_forgotten_are_read_again_when_they_are_needed(batches: list[set[str]]) -> None:
    trees: dict[bytes, bytes] = {}
    layout = Layout.of(".")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statetree, "MAX_FOLDERS", 3)
        tree, files = StateTree(lambda oids: [trees[oid] for oid in oids], layout), dict[str, bytes]()
        for number, batch in enumerate(batches):
            tree.prepare(batch)
            files |= dict.fromkeys(batch, object_id(BLOB, b"%d" % number))
            for path in sorted(batch):
                tree.put(path, files[path])
            recorder = Recorder(trees)
            oid = tree.write(recorder)
            tree.forget()
            fresh = StateTree(lambda oids: [trees[oid] for oid in oids], layout)
            for path, blob in files.items():
                fresh.put(path, blob)
            assert fresh.write(Pack()) == oid


class Recorder(Pack):
    """A pack that also remembers the trees added to it by id."""

    def __init__(self, trees: dict[bytes, bytes]) -> None:
        super().__init__()
        self._trees = trees

    def add(self, kind: int, data: bytes, base: tuple[bytes, bytes] | None = None) -> bytes:
        oid = super().add(kind, data, base)
        self._trees[oid] = data
        return oid


def test_a_folder_that_was_not_read_is_never_overwritten() -> None:
    made = Pack()
    below = b"100644 x\0" + made.add(BLOB, b"x")
    trees = {made.add(TREE, below): below}
    raw = b"40000 status\0" + next(iter(trees))
    trees[made.add(TREE, raw)] = raw
    tree = StateTree(lambda oids: [trees[oid] for oid in oids], Layout.of("."), object_id(TREE, raw))
    with pytest.raises(LookupError, match="status/y"):
        tree.put("status/y", object_id(BLOB, b"y"))


# --- which engine ---------------------------------------------------------------------------------------------------


def engine_of(store: GitStore) -> str:
    return type(store._writer).__name__


def test_the_pack_engine_writes_wherever_it_can(store: GitStore, clone: Clone) -> None:
    chosen = GitStore(clone.repo)
    chosen.load()
    chosen.flush((commit({"status/open/t-2.yaml": b"1"}),))
    assert engine_of(chosen) == "PackWriter"


@pytest.mark.parametrize(
    ("init", "said"),
    [(("--object-format=sha256",), "sha256"), (("--shared=group",), "core.sharedRepository")],
)
def test_where_packs_of_our_own_would_be_wrong_git_writes(tmp_path: Path, init: tuple[str, ...], said: str) -> None:
    clone = make_repo(tmp_path / "other", {"a": "x"}, *init)
    chosen = GitStore(clone.repo)
    chosen.flush((commit({"status/hub.yaml": b"1"}, clone.head()),))
    assert engine_of(chosen) == "PlainWriter"
    with pytest.raises(ValueError, match=f"pack engine: .*{said}"):
        GitStore(clone.repo, engine="pack").flush((commit({"status/hub.yaml": b"2"}),))


def test_a_ref_format_that_is_not_files_is_left_to_git(clone: Clone) -> None:
    found = packwriter.Settings({"extensions.refstorage": "reftable"})
    assert "not kept as files" in (packwriter.why_not(clone.repo, found) or "")
    (clone.path / ".git/reftable").mkdir()
    assert "not kept as files" in (packwriter.why_not(clone.repo, packwriter.Settings({})) or "")


def test_the_engines_may_take_turns_in_one_repository(store: GitStore, clone: Clone) -> None:
    turns: list[Engine] = ["plain", "pack", "plain", "pack"]
    for number, engine in enumerate(turns):
        again = GitStore(clone.repo, engine=engine)
        again.load()
        again.flush((commit({f"status/open/t-{number}.yaml": b"%d" % number}),))
    assert GitStore(clone.repo).load().files["status/open/t-3.yaml"] == b"3"
    assert clone.fsck() == ""


# --- files and refs -------------------------------------------------------------------------------------------------


def test_a_flush_leaves_a_pack_with_its_index_and_nothing_else(store: GitStore, clone: Clone) -> None:
    before = set(packs(clone).iterdir())
    store.flush((commit({"status/open/t-1.yaml": b"1"}), commit({"status/open/t-1.yaml": b"2"})))
    left = {path.suffix: path for path in set(packs(clone).iterdir()) - before}
    assert set(left) == {".pack", ".idx"}
    assert {path.stat().st_mode & 0o777 for path in left.values()} == {0o444}
    clone.git("index-pack", "--strict", "-o", str(clone.path / "again.idx"), str(left[".pack"]))
    assert (clone.path / "again.idx").read_bytes() == left[".idx"].read_bytes()
    assert not list((clone.path / ".git/refs").rglob("*.lock"))


def test_most_flushes_start_no_process(store: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.flush((commit({"status/closed/2026/11/22/t-1.yaml": b"1"}, deletes=("status/open/t-1.yaml",)),))
    monkeypatch.setenv("PATH", "")
    store.flush((commit({"status/open/t-2.yaml": b"1"}),))
    store.flush((commit({"status/closed/2026/11/23/t-2.yaml": b"1"}, deletes=("status/open/t-2.yaml",)),))


def test_the_reflog_tells_of_each_flush(store: GitStore, clone: Clone) -> None:
    tips = [store.flush((commit({"status/open/t-1.yaml": b"%d" % n}),)) for n in range(3)]
    shown = clone.git("log", "-g", "-3", "--format=%H %gs", STATE).splitlines()
    assert shown == [f"{tip} agentcom: flush" for tip in reversed(tips)]


@pytest.mark.parametrize(("value", "lines"), [("false", 0), ("true", 2), ("always", 2), (None, 2)])
def test_a_reflog_is_begun_when_git_would(clone: Clone, value: str | None, lines: int) -> None:
    if value is not None:
        clone.git("config", "core.logAllRefUpdates", value)
    store = GitStore(clone.repo, engine="pack")
    for number in range(2):
        store.flush((commit({"status/hub.yaml": b"%d" % number}),))
    log = clone.path / f".git/logs/refs/heads/{STATE}"
    assert len(log.read_text().splitlines() if log.exists() else []) == lines


def test_a_bare_repository_gets_no_reflog_unless_it_has_one(clone: Clone, tmp_path: Path) -> None:
    bare = find_repo(make_bare(tmp_path / "bare.git"))
    store = GitStore(bare, engine="pack")
    store.flush((commit({"status/hub.yaml": b"1"}),))
    store.flush((commit({"status/hub.yaml": b"2"}),))
    log = bare.common_dir / f"logs/refs/heads/{STATE}"
    assert not log.exists()
    log.parent.mkdir(parents=True)
    log.touch()
    tip = store.flush((commit({"status/hub.yaml": b"3"}),))
    assert tip in log.read_text()


def test_a_head_that_stands_on_the_state_branch_has_the_flush_in_its_log(store: GitStore, clone: Clone) -> None:
    clone.git("symbolic-ref", "HEAD", STATE_REF)
    tip = store.flush((commit({"status/open/t-1.yaml": b"1"}),))
    assert clone.git("log", "-g", "-1", "--format=%H", "HEAD") == tip


def test_a_folder_of_the_ref_that_vanished_is_made_again(store: GitStore, clone: Clone) -> None:
    clone.git("pack-refs", "--all", "--prune")
    assert not (clone.path / ".git/refs/heads/agentcom").exists()
    tip = store.flush((commit({"status/open/t-1.yaml": b"1"}),))
    assert clone.head(STATE) == tip


def test_the_same_flush_again_after_the_branch_was_put_back_works(store: GitStore, clone: Clone) -> None:
    before = clone.head(STATE)
    batch = (commit({"status/open/t-1.yaml": b"1"}),)
    tip = store.flush(batch)
    clone.git("update-ref", STATE_REF, before)
    again = GitStore(clone.repo, engine="pack")
    again.load()
    assert again.flush(batch) == tip
    assert clone.fsck() == ""


@pytest.mark.parametrize("taken", [packwriter.TAKEN_OBJECTS, 0])
def test_what_people_take_back_while_it_is_observed_stays_in_the_branch(
    store: GitStore, clone: Clone, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    monkeypatch.setattr(packwriter, "TAKEN_OBJECTS", taken)
    before, real = clone.head(), packwriter.PackWriter._build
    source = clone.commit({"BACKLOG.md": "- [ ] a thing of two minds\n", "src/new.py": "x = 1\n"})

    def build(self: packwriter.PackWriter, *args: object) -> str:
        new = real(self, *args)  # type: ignore[arg-type]
        clone.git("update-ref", "refs/heads/main", before)
        clone.git("reflog", "expire", "--expire=all", "--all")
        clone.git("read-tree", before)
        if taken:
            clone.git("prune", "--expire=now")
            assert clone.git("cat-file", "-t", source, check=False) == ""
        return new

    monkeypatch.setattr(packwriter.PackWriter, "_build", build)
    tip = store.flush((commit(source=source),))
    assert clone.git("show", "-s", "--format=%P", tip).split()[1] == source
    assert clone.show("src/new.py", tip) == "x = 1\n"
    assert clone.fsck() == ""


# --- failures -------------------------------------------------------------------------------------------------------


def names(clone: Clone) -> set[str]:
    return {path.name for path in packs(clone).iterdir()}


def test_a_flush_that_lost_the_branch_leaves_no_pack(store: GitStore, clone: Clone) -> None:
    before = names(clone)
    clone.git("update-ref", STATE_REF, clone.head("main"))
    with pytest.raises(Slipped):
        store.flush((commit({"status/open/t-1.yaml": b"1"}),))
    assert names(clone) == before


@pytest.mark.parametrize("place", ["objects/pack", "refs/heads/agentcom", "logs/refs/heads/agentcom"])
def test_a_folder_that_must_not_be_written_is_read_only_and_heals(
    store: GitStore, clone: Clone, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before, tip = names(clone), clone.head(STATE)
    real = os.open

    def refuse(path: str | Path, flags: int, mode: int = 0o777, **more: int) -> int:
        if flags & os.O_WRONLY and f".git/{place}/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(ReadOnly, match="nothing was written"):
            store.flush((commit({"status/open/t-1.yaml": b"1"}),))
    assert (names(clone), clone.head(STATE)) == (before, tip)
    assert not list((clone.path / ".git/refs").rglob("*.lock"))
    assert store.flush((commit({"status/open/t-1.yaml": b"1"}),)) == clone.head(STATE)


@pytest.mark.parametrize("failing", range(1, 6))
def test_any_fsync_that_fails_is_fatal_and_the_branch_stays_whole(
    store: GitStore, clone: Clone, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    store.flush((commit({"status/open/t-1.yaml": b"0"}),))
    before = clone.head(STATE)
    left = itertools.count(1)
    real = os.fsync

    def fsync(handle: int) -> None:
        if next(left) == failing:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(Fatal, match="fsync failed"):
            store.flush((commit({"status/open/t-1.yaml": b"1"}),))
    again = GitStore(clone.repo, engine="pack")
    assert again.load().files["status/open/t-1.yaml"] == (b"0" if clone.head(STATE) == before else b"1")
    again.flush((commit({"status/open/t-1.yaml": b"2"}),))
    assert not [name for name in names(clone) if name.endswith(".keep") or name in TEMPORARY]
    assert clone.fsck() == ""


def test_a_full_disk_is_read_only_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        clone = make_repo(disk / "repo", {"a": "x"})
        store = GitStore(clone.repo, engine="pack")
        store.flush((commit({"status/hub.yaml": b"1"}, clone.head()),))
        before, tip = names(clone), clone.head(STATE)
        batch = (commit({"status/open/t-1.yaml": os.urandom(50_000)}),)
        with filled(disk):
            for _ in range(3):
                with pytest.raises(ReadOnly, match=r"nothing was written.*No space left"):
                    store.flush(batch)
                assert (names(clone), clone.head(STATE)) == (before, tip)
        assert store.flush(batch) == clone.head(STATE)
        assert clone.fsck() == ""


def test_what_a_killed_flush_left_is_removed_and_what_is_not_ours_stays(store: GitStore, clone: Clone) -> None:
    for name in (*TEMPORARY, "pack-1.pack", "pack-3.pack"):
        (packs(clone) / name).write_bytes(b"half")
    for name, text in {
        "pack-1": KEEP,
        "pack-2": KEEP[:3],
        "pack-3": b"mine\n",
        "pack-4": b"fetch-pack 7 on box",
    }.items():
        (packs(clone) / f"{name}.keep").write_bytes(text)
    again = GitStore(clone.repo, engine="pack")
    again.load()
    again.flush((commit({"status/open/t-1.yaml": b"1"}),))
    strange = {name for name in names(clone) if not len(name) > 40}
    assert strange == {"pack-3.pack", "pack-3.keep", "pack-4.keep"}


# --- killed, raced, repacked ----------------------------------------------------------------------------------------

#: Flushes once and dies by SIGKILL just before the n-th call of the kind that changes a disk; exits 9 when it survives.
_VICTIM = """
    import itertools, os, signal, sys
    from pathlib import Path
    from coordinator.git.journal import GitStore
    from coordinator.git.message import compose
    from coordinator.git.repo import find_repo
    from coordinator.ports import Author, Commit

    store = GitStore(find_repo(Path(sys.argv[1])), engine="pack")
    store.load()
    batch = [
        Commit(compose("t-1: x", "", [("Agentcom-Epoch", "1/h-aaaaaaaa")]), Author("hub", "h@x"), 0, {path: b"new"})
        for path in ("status/open/t-1.yaml", "status/open/t-2.yaml")
    ]
    calls = itertools.count()

    def deadly(real):
        def call(*args, **more):
            if next(calls) == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)
        return call

    for name in ("open", "write", "fsync", "replace", "unlink", "close", "mkdir"):
        setattr(os, name, deadly(getattr(os, name)))
    store.flush(tuple(batch))
    os._exit(9)
"""


@pytest.mark.slow
def test_a_flush_killed_before_any_of_its_calls_leaves_the_old_tip_or_the_new_one(
    store: GitStore, clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "STALE_LOCK_S", 0.01)
    seen = set()
    for point in itertools.count():
        clone.git("pack-refs", "--all", "--prune")  # so that the folder of the ref has to be made too
        before = clone.head(STATE)
        argv = [sys.executable, "-c", textwrap.dedent(_VICTIM), str(clone.path), str(point)]
        done = subprocess.run(argv, env=git_env(), check=False, capture_output=True, text=True)
        assert done.returncode in {9, -signal.SIGKILL}, done.stderr
        assert clone.fsck() == ""
        again = GitStore(clone.repo, engine="pack")
        files = again.load().files
        moved = clone.head(STATE) != before
        seen.add(moved)
        new = {path for path, content in files.items() if content == b"new"}
        assert new == ({"status/open/t-1.yaml", "status/open/t-2.yaml"} if moved else set())
        again.flush((commit({"status/open/t-1.yaml": b"0"}, deletes=("status/open/t-2.yaml",)),))
        assert not [name for name in names(clone) if name.endswith(".keep") or name in TEMPORARY]
        if done.returncode == 9:
            break
    assert seen == {False, True}
    assert point > 15


@pytest.mark.slow
@pytest.mark.parametrize("housekeeping", [("repack", "-adq"), ("gc", "--quiet", "--prune=now")])
def test_a_person_who_repacks_all_the_time_loses_nothing(
    store: GitStore, clone: Clone, housekeeping: tuple[str, ...]
) -> None:
    over = threading.Event()
    said: list[str] = []

    def keep_house() -> None:
        while not over.is_set():
            argv = ["git", "-c", "gc.auto=0", *housekeeping]
            done = subprocess.run(argv, cwd=clone.path, env=git_env(), capture_output=True, text=True, check=False)
            said.append(done.stderr)

    person = threading.Thread(target=keep_house)
    person.start()
    tips = []
    try:
        for number in range(1000):
            batch = (commit({"status/open/t-1.yaml": b"%d" % number}, time_ms=number * 1000),)
            while True:
                try:
                    tips.append(store.flush(batch))
                    break
                except ReadOnly:  # their git held the lock of the ref: the hub tries again too
                    continue
    finally:
        over.set()
        person.join()
    assert len(said) > 3
    assert clone.git("rev-list", "--first-parent", STATE).split()[:1000] == tips[::-1]
    assert GitStore(clone.repo).load().files["status/open/t-1.yaml"] == b"999"
    assert clone.fsck() == ""


@pytest.mark.slow
def test_of_two_stores_that_race_one_wins_each_round_and_nothing_is_lost(store: GitStore, clone: Clone) -> None:
    won: list[str] = []

    def run(name: str) -> None:
        mine = GitStore(clone.repo, engine="pack")
        for number in range(60):
            while True:
                mine.load()
                try:
                    won.append(mine.flush((commit({f"status/open/{name}.yaml": b"%d" % number}),)))
                    break
                except Conflict:
                    continue

    racers = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    history = clone.git("rev-list", "--first-parent", STATE).split()
    assert sorted(history[:120]) == sorted(won)
    files = GitStore(clone.repo).load().files
    assert (files["status/open/one.yaml"], files["status/open/two.yaml"]) == (b"59", b"59")
    assert clone.fsck() == ""


def test_a_lock_is_waited_for_as_long_as_git_waits(
    store: GitStore, clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = clone.path / f".git/{STATE_REF}.lock"
    lock.write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: lock.unlink())  # while we wait the other one is done
        assert store.flush((commit({"status/open/t-1.yaml": b"1"}),)) == clone.head(STATE)
    lock.write_text("")
    monkeypatch.setattr(reflock, "LOCK_TIMEOUT_S", 0.0)
    with pytest.raises(ReadOnly, match="another git process"):
        store.flush((commit({"status/open/t-1.yaml": b"2"}),))
    assert lock.exists()
