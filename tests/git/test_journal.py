"""What the journal does to a real repository, beyond the contract of every store."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.repo import Clone, git_env, make_bare, make_repo

from coordinator.git import branch, journal, leftovers, plain
from coordinator.git.branch import InvariantBroken
from coordinator.git.journal import HUB_ATTRIBUTES, Engine, GitStore
from coordinator.git.message import compose
from coordinator.git.plain import SCRATCH_REF
from coordinator.git.repo import STATE_REF, find_repo, read_ref
from coordinator.git.run import GitError
from coordinator.git.statetree import StateTree
from coordinator.ports import Author, Commit, Fatal, ReadOnly, StoreError

HUB = Author("AgentCom hub", "hub@agentcom.invalid")
STATE = "agentcom/state"
FILES = {"BACKLOG.md": "- [ ] one\n", "tasks/t-1.yaml": "title: x\n", "src/app.py": "print()\n"}


def commit(
    puts: dict[str, bytes] | None = None,
    source: str | None = None,
    deletes: tuple[str, ...] = (),
    author: Author = HUB,
    subject: str = "t-1: queued",
) -> Commit:
    trailers = [("Agentcom-Task", "t-1"), ("Agentcom-Event", "created"), ("Agentcom-Epoch", "1/h-aaaaaaaa")]
    if source is not None:
        trailers.append(("Agentcom-Source", source))
    return Commit(compose(subject, "", trailers, skip_ci=True), author, 1_764_000_000_999, puts or {}, deletes, source)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", FILES)


@pytest.fixture(params=["pack", "plain"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


#: For what only happens with git fast-import.
by_fast_import = pytest.mark.parametrize("engine", ["plain"], indirect=True)


@pytest.fixture
def store(clone: Clone, engine: Engine) -> GitStore:
    """A store whose claim observed the first commit."""
    store = GitStore(clone.repo, engine=engine)
    store.flush((commit({**HUB_ATTRIBUTES, "status/open/t-1.yaml": b"1\n"}, clone.head()),))
    return store


def test_the_claim_has_the_source_as_its_only_parent_and_its_tree_beside_the_hubs(
    clone: Clone, store: GitStore
) -> None:
    assert clone.git("show", "-s", "--format=%P", STATE) == clone.head("main")
    assert set(clone.tree(STATE)) == {*FILES, *HUB_ATTRIBUTES, "status/open/t-1.yaml"}


def test_a_claim_leaves_out_what_stands_at_hub_paths_on_the_source(tmp_path: Path, engine: Engine) -> None:
    clone = make_repo(tmp_path / "r", {"status/old.yaml": "x", "tasks/backlog/t.yaml": "x", "a": "x"})
    GitStore(clone.repo, engine=engine).flush((commit({"status/hub.yaml": b"1"}, clone.head()),))
    assert set(clone.tree(STATE)) == {"a", "status/hub.yaml"}


def test_an_observation_is_a_merge_of_state_and_source(clone: Clone, store: GitStore) -> None:
    before = clone.head(STATE)
    source = clone.commit({"BACKLOG.md": "- [ ] two\n", "src/new.py": "x", "src/app.py": None})
    store.flush((commit(source=source),))
    assert clone.git("show", "-s", "--format=%P", STATE) == f"{before} {source}"
    assert set(clone.tree(STATE)) == {*clone.tree("main"), *HUB_ATTRIBUTES, "status/open/t-1.yaml"}


def test_an_observation_after_hub_commits_in_the_same_flush_keeps_them(clone: Clone, store: GitStore) -> None:
    first = clone.commit({"tasks/t-2.yaml": "title: y\n"})
    second = clone.commit({"tasks/t-2.yaml": None, "agents/loash.yaml": "name: L\n"})
    store.flush(
        (
            commit({"tasks/api/t-9.yaml": b"new"}),
            commit(source=first),
            commit({"tasks/backlog/t-8.yaml": b"new"}, deletes=("status/open/t-1.yaml",)),
            commit(source=second),
        )
    )
    hub = {*HUB_ATTRIBUTES, "tasks/api/t-9.yaml", "tasks/backlog/t-8.yaml"}
    assert set(clone.tree(STATE)) == {*clone.tree("main"), *hub}


def test_a_folder_emptied_by_leaving_out_hub_paths_is_dropped(tmp_path: Path, engine: Engine) -> None:
    clone = make_repo(tmp_path / "r", {"a": "x"})
    store = GitStore(clone.repo, engine=engine)
    store.flush((commit({"status/hub.yaml": b"1"}, clone.head()),))
    source = clone.commit({"tasks/backlog/t-1.yaml": "left by a pull", "agents/api/b.yaml": "likewise"})
    store.flush((commit(source=source),))
    assert clone.git("ls-tree", "--name-only", STATE).split() == ["a", "status"]


def test_a_file_that_becomes_a_folder_and_back_is_observed(clone: Clone, store: GitStore) -> None:
    for change in ({"src/app.py": None, "src": "file"}, {"src": None, "src/deep/x": "folder"}):
        files: dict[str, str | bytes | None] = {}
        files.update(change)
        if "src/deep/x" in change:
            (clone.path / "src").unlink()
            files.pop("src")
        else:
            (clone.path / "src/app.py").unlink()
            (clone.path / "src").rmdir()
            files.pop("src/app.py")
        store.flush((commit(source=clone.commit(files)),))
        assert set(clone.tree("main")) < set(clone.tree(STATE))
    assert clone.fsck() == ""


def test_modes_links_and_strange_names_of_people_come_through_unchanged(clone: Clone, store: GitStore) -> None:
    script = clone.path / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    (clone.path / "link").symlink_to("BACKLOG.md")
    strange = clone.path / os.fsdecode(b'tasks/caf\xe9 "q"\n')
    strange.mkdir()
    (strange / "x").write_text("x")
    store.flush((commit(source=clone.commit()),))
    rows = set(clone.git("ls-tree", "-r", "-z", STATE).split("\0"))
    assert set(clone.git("ls-tree", "-r", "-z", "main").split("\0")) <= rows


def test_the_hub_never_changes_a_persons_branch_work_tree_or_index(clone: Clone, store: GitStore) -> None:
    clone.write({"src/app.py": "edited, not staged\n", "new.txt": "untracked\n", "staged.txt": "s\n"})
    clone.git("add", "staged.txt")
    before = clone.snapshot()
    store.flush((commit({"status/open/t-2.yaml": b"1"}),))
    store.load()
    assert clone.snapshot() == before


def test_the_state_branch_always_fast_forwards_the_source(clone: Clone, store: GitStore) -> None:
    for number in range(3):
        source = clone.commit({"BACKLOG.md": f"- [ ] {number}\n"})
        store.flush((commit(source=source), commit({"status/open/t-1.yaml": b"%d\n" % number})))
        clone.git("merge", "--quiet", "--ff-only", STATE)
        assert clone.head() == clone.head(STATE)
        assert (clone.path / "status/open/t-1.yaml").read_bytes() == b"%d\n" % number


def test_a_rewound_source_is_observed_as_a_merge_with_an_ancestor(clone: Clone, store: GitStore) -> None:
    first = clone.head()
    store.flush((commit(source=clone.commit({"BACKLOG.md": "- [ ] two\n"})),))
    store.flush((commit(source=first),))
    assert clone.show("BACKLOG.md", STATE) == FILES["BACKLOG.md"]
    assert clone.fsck() == ""


def test_everything_passes_a_strict_check(clone: Clone, store: GitStore) -> None:
    odd = Author("\x1b[31mEve <root>\n\0", "<a b>\n")
    store.flush((commit({"status/open/t-2.yaml": b"1"}, author=odd), commit({}, author=Author("", ""))))
    store.flush((commit(source=clone.commit({"a/b/c": "x"})),))
    assert clone.fsck() == ""


def test_author_committer_time_and_trailers_read_back_with_plain_git(clone: Clone, store: GitStore) -> None:
    store.flush((commit({"status/open/t-1.yaml": b"2"}, author=Author("loash", "loash@agents.agentcom.invalid")),))
    shown = clone.git("log", "-1", "--format=%an <%ae>|%cn <%ce>|%ct|%s|%(trailers)", STATE)
    assert shown == (
        "loash <loash@agents.agentcom.invalid>|AgentCom hub <hub@agentcom.invalid>|1764000000|t-1: queued|"
        "Agentcom-Task: t-1\nAgentcom-Event: created\nAgentcom-Epoch: 1/h-aaaaaaaa\n"
    )


def test_names_lose_what_could_break_a_commit_and_empty_ones_fall_back(clone: Clone, store: GitStore) -> None:
    store.flush((commit(author=Author("E<v>e\n\x07" + "x" * 300, "e@x")), commit(author=Author("<>", "id@agents"))))
    long, empty = reversed(clone.git("log", "-2", "--format=%an", STATE).splitlines())
    assert long.startswith("Eve x")
    assert len(long) == 200
    assert empty == "id@agents"


def test_a_linked_work_tree_writes_the_same_branch(
    clone: Clone, store: GitStore, tmp_path: Path, engine: Engine
) -> None:
    clone.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    linked = find_repo(tmp_path / "linked")
    assert linked.common_dir == clone.repo.common_dir != linked.git_dir
    beside = GitStore(linked, engine=engine)
    beside.load()
    tip = beside.flush((commit({"status/open/t-2.yaml": b"1"}),))
    assert clone.head(STATE) == tip


def test_a_bare_repository_works(clone: Clone, tmp_path: Path, engine: Engine) -> None:
    bare = find_repo(make_bare(tmp_path / "bare.git"))
    clone.git("push", "--quiet", str(bare.common_dir), "main")
    tip = GitStore(bare, engine=engine).flush((commit({"status/hub.yaml": b"1"}, clone.head()),))
    assert GitStore(bare, engine=engine).load().tip == tip


def test_packed_refs_are_read_and_written_over(clone: Clone, store: GitStore, engine: Engine) -> None:
    clone.git("pack-refs", "--all", "--prune")
    assert not (clone.path / ".git/refs/heads/agentcom").exists()
    again = GitStore(clone.repo, engine=engine)
    again.load()
    tip = again.flush((commit({"status/open/t-1.yaml": b"2"}),))
    assert clone.head(STATE) == tip
    assert store_tip(clone) == tip


def test_a_garbage_collection_between_flushes_loses_nothing(clone: Clone, store: GitStore, engine: Engine) -> None:
    store.flush((commit({"status/open/t-2.yaml": b"1"}),))
    clone.git("gc", "--quiet")
    store.flush((commit({"status/open/t-3.yaml": b"1"}),))
    clone.git("repack", "-adq")
    assert set(GitStore(clone.repo, engine=engine).load().files) >= {f"status/open/t-{n}.yaml" for n in (1, 2, 3)}
    assert clone.fsck() == ""


def test_a_flush_is_one_pack_and_no_loose_object(clone: Clone, store: GitStore) -> None:
    clone.git("gc", "--quiet")
    packs = set((clone.path / ".git/objects/pack").glob("*.pack"))
    store.flush(tuple(commit({f"status/open/t-{n}.yaml": b"%d" % n}) for n in range(5)))
    assert len(set((clone.path / ".git/objects/pack").glob("*.pack")) - packs) == 1
    assert clone.git("count-objects").startswith("0 objects")


@by_fast_import
@pytest.mark.parametrize("content", ["", "0" * 40, "not an id"])
def test_a_stale_scratch_ref_is_harmless(clone: Clone, store: GitStore, content: str, engine: Engine) -> None:
    (clone.path / ".git" / SCRATCH_REF).write_text(content or clone.head("main") + "\n")
    again = GitStore(clone.repo, engine=engine)
    again.load()
    tip = again.flush((commit({"status/open/t-2.yaml": b"1"}),))
    assert store_tip(clone) == tip


def test_locks_left_by_a_killed_flush_do_not_stop_the_next_hub(
    clone: Clone, store: GitStore, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    monkeypatch.setattr(leftovers, "STALE_LOCK_S", 0.01)
    for ref in (SCRATCH_REF, f"refs/heads/{STATE}"):
        lock = clone.path / f".git/{ref}.lock"
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("")
    again = GitStore(clone.repo, engine=engine)
    again.load()
    assert again.flush((commit({"status/open/t-2.yaml": b"1"}),)) == store_tip(clone)


def test_a_lock_held_by_somebody_is_read_only_and_the_same_flush_works_later(clone: Clone, store: GitStore) -> None:
    lock = clone.path / f".git/refs/heads/{STATE}.lock"
    lock.write_text("")
    before = clone.head(STATE)
    with pytest.raises(ReadOnly, match=r"state\.lock"):
        store.flush((commit({"status/open/t-2.yaml": b"1"}),))
    assert clone.head(STATE) == before
    lock.unlink()
    assert store.flush((commit({"status/open/t-2.yaml": b"1"}),)) == clone.head(STATE)


@by_fast_import
def test_fast_import_that_answers_but_does_not_move_its_ref_is_noticed(
    clone: Clone, store: GitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = clone.head(STATE)
    real = plain.read_ref
    monkeypatch.setattr(plain, "read_ref", lambda repo, ref: before if ref == SCRATCH_REF else real(repo, ref))
    with pytest.raises(ReadOnly, match="not moved"):
        store.flush((commit({"status/open/t-2.yaml": b"1"}),))
    assert clone.head(STATE) == before


def test_a_failed_fsync_is_fatal_and_says_so(store: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(Fatal, match="fsync failed"):
        store.flush((commit({"status/open/t-2.yaml": b"1"}),))


@by_fast_import
@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("fatal: fsync error on '.git/objects/pack/tmp_pack_x': Input/output error", Fatal),
        ("fatal: write error: No space left on device", ReadOnly),
        ("fatal: sha1 file 'x/objects/pack/tmp_pack_G6m0EA' write error. Out of diskspace", ReadOnly),
        ("fatal: Unable to create '/r/.git/refs/agentcom/flush.lock': File exists", ReadOnly),
        ("took longer than 120 s and was stopped", ReadOnly),
        ("fatal: Unsupported command: x", Fatal),
    ],
)
def test_what_git_says_decides_between_trying_again_and_stopping(
    clone: Clone, store: GitStore, monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception]
) -> None:
    def fail(*argv: str, **_: object) -> bytes:
        raise GitError(argv, 128, said)

    before = clone.head(STATE)
    with monkeypatch.context() as patch:
        patch.setattr(branch, "git", fail)
        with pytest.raises(error):
            store.flush((commit({"status/open/t-2.yaml": b"1"}),))
    assert clone.head(STATE) == before


def test_a_git_that_the_system_kills_is_read_only_and_the_same_flush_works_later(clone: Clone, store: GitStore) -> None:
    batch = (commit({"status/open/t-2.yaml": os.urandom(300_000)}),)
    before = clone.head(STATE)
    with limited_file_size(100_000), pytest.raises(ReadOnly, match="nothing was written"):
        store.flush(batch)
    assert clone.head(STATE) == before
    assert not list((clone.path / ".git").glob("fast_import_crash_*"))
    assert store.flush(batch) == clone.head(STATE)
    assert clone.fsck() == ""


def test_a_tree_that_is_not_the_sources_never_reaches_the_branch(
    clone: Clone, store: GitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = clone.head(STATE)
    source = clone.commit({"BACKLOG.md": "- [ ] two\n"})
    monkeypatch.setattr(plain, "_change", lambda old, new: iter(()))
    monkeypatch.setattr(StateTree, "observe", lambda tree, spine: None)
    with pytest.raises(InvariantBroken, match=r"BACKLOG\.md"):
        store.flush((commit(source=source),))
    assert clone.head(STATE) == before


def test_a_source_whose_tasks_is_no_folder_is_never_written(clone: Clone, store: GitStore) -> None:
    clone.git("rm", "-rq", "tasks")
    source = clone.commit({"tasks": "a file"})
    with pytest.raises(InvariantBroken, match="tasks is no folder"):
        store.flush((commit(source=source),))


@pytest.mark.parametrize("root", [".agentcom", "ops/agents here"])
def test_a_root_of_its_own_keeps_a_products_folders_of_the_same_names(
    tmp_path: Path, root: str, engine: Engine
) -> None:
    mine = {"status/page.html": "product", "tasks/backlog/x.rb": "product", f"{root}/BACKLOG.md": "- [ ] one\n"}
    clone = make_repo(tmp_path / "r", mine)
    store = GitStore(clone.repo, root, engine=engine)
    store.flush((commit({"status/hub.yaml": b"1"}, clone.head()),))
    store.flush((commit(source=clone.commit({f"{root}/tasks/t-1.yaml": "title: x\n", "status/page.html": "2"})),))
    assert set(clone.tree(STATE)) == {*mine, f"{root}/tasks/t-1.yaml", f"{root}/status/hub.yaml"}
    assert dict(GitStore(clone.repo, root, engine=engine).load().files) == {"status/hub.yaml": b"1"}
    assert store.read("status/hub.yaml") == b"1"


def test_a_git_process_that_outlives_its_hub_is_waited_for_before_the_branch_is_read(
    clone: Clone, store: GitStore, engine: Engine
) -> None:
    before = clone.head(STATE)
    after = store.flush((commit({"status/open/t-2.yaml": b"1"}),))
    clone.git("update-ref", f"refs/heads/{STATE}", before)
    with (clone.path / ".git/agentcom/flush.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(
            ["sh", "-c", f"read go; git update-ref refs/heads/{STATE} {after}"],
            cwd=clone.path,
            stdin=subprocess.PIPE,
            env=git_env(),
            pass_fds=(lock.fileno(),),
        )
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(GitStore(clone.repo, engine=engine).load)
        orphan.communicate(b"go\n")
        assert loading.result(30).tip == after


def test_a_writer_that_never_ends_makes_a_flush_read_only(
    clone: Clone, store: GitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "WRITER_TIMEOUT_S", 0.0)
    with (clone.path / ".git/agentcom/flush.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ReadOnly, match=r"still holds .*flush\.lock"):
            store.flush((commit({"status/open/t-2.yaml": b"1"}),))
        assert store.load().tip == clone.head(STATE)


def test_replaced_objects_do_not_change_what_the_hub_reads(clone: Clone, store: GitStore, engine: Engine) -> None:
    good = store.load()
    clone.git("replace", clone.head(STATE), clone.head("main"))
    assert GitStore(clone.repo, engine=engine).load() == good


def store_tip(clone: Clone) -> str | None:
    return GitStore(clone.repo).load().tip


class limited_file_size:  # noqa: N801  # reads as the condition that it makes
    """Let no file of this process and its children grow beyond a size; the system kills a git that tries."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> None:
        import resource

        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._before[1]))

    def __exit__(self, *_: object) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)
        signal.signal(signal.SIGXFSZ, self._signal)


_FLUSHER = """
    import sys
    from pathlib import Path
    from coordinator.git.journal import GitStore
    from coordinator.git.message import compose
    from coordinator.git.repo import STATE_REF, find_repo, read_ref
    from coordinator.ports import Author, Commit

    store = GitStore(find_repo(Path(sys.argv[1])), engine=sys.argv[2])
    store.load()
    number = 0
    while True:
        batch = []
        for _ in range(3):
            number += 1
            text = compose(f"t-1: {number}", "", [("Agentcom-Epoch", "1/h-aaaaaaaa")])
            batch.append(Commit(text, Author("hub", "h@x"), 0, {"status/open/t-1.yaml": b"%d" % number}))
        store.flush(tuple(batch))
        print(number, flush=True)
"""


@pytest.mark.slow
def test_a_flushing_process_killed_at_any_time_leaves_a_branch_with_all_it_acknowledged(
    clone: Clone, store: GitStore, kill_after: Callable[[subprocess.Popen[str], int], int], engine: Engine
) -> None:
    for round_ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(_FLUSHER), str(clone.path), engine],
            stdout=subprocess.PIPE,
            text=True,
            env=git_env(),
            start_new_session=True,
        )
        acknowledged = kill_after(process, round_)
        again = GitStore(clone.repo, engine=engine)
        written = int(again.load().files["status/open/t-1.yaml"])
        assert written >= acknowledged
        assert written % 3 == 0, "a flush is all or nothing"
        again.flush((commit({"status/open/t-2.yaml": b"%d" % round_}),))
        assert clone.fsck() == ""


@pytest.fixture
def kill_after() -> Callable[[subprocess.Popen[str], int], int]:
    def kill(process: subprocess.Popen[str], round_: int) -> int:
        """Kill -9 the process, as a hub dies, in a flush and leave its git alone; return what it said was durable."""
        import time

        assert process.stdout is not None
        with process:
            last = 0
            for _ in range(2):
                last = int(process.stdout.readline())
            time.sleep(round_ * 0.003)  # spreads the blow over the phases of one flush; no outcome depends on it
            process.kill()
            rest = [line for line in process.stdout.read().splitlines() if line.strip()]
        return int(rest[-1]) if rest else last

    return kill


def test_a_state_branch_that_only_points_at_a_branch_of_people_never_moves_that_one(
    clone: Clone, engine: Engine
) -> None:
    clone.git("symbolic-ref", STATE_REF, "refs/heads/people")
    store = GitStore(clone.repo, engine=engine)
    store.load()
    with contextlib.suppress(StoreError):
        store.flush((commit(),))
    assert read_ref(clone.repo, "refs/heads/people") is None
