"""Where a hub goes on from, whatever people, other hubs and disks made of its branch while it did not run."""

import re
import shutil
from pathlib import Path

import pytest
from support.repo import Clone, lose, make_repo

from coordinator.git.journal import HUB_ATTRIBUTES, Engine, GitStore, last_observed
from coordinator.git.message import compose
from coordinator.git.recovery import BACKUP_REF, last_known
from coordinator.git.repo import STATE_REF
from coordinator.git.slips import Epoch, Seen, judge
from coordinator.place import STATE_TIP
from coordinator.ports import Author, Commit, Conflict, Fatal, Fold, Slip

pytestmark = pytest.mark.slow

HUB = Author("AgentCom hub", "hub@agentcom.invalid")
STATE = "agentcom/state"
MINE, OTHER = "h-aaaaaaaa", "h-bbbbbbbb"


def commit(
    puts: dict[str, bytes] | None = None, source: str | None = None, slip: Slip | None = None, epoch: str = f"2/{MINE}"
) -> Commit:
    trailers = [("Agentcom-Event", "created"), ("Agentcom-Epoch", epoch)]
    if source is not None:
        trailers.append(("Agentcom-Source", source))
    return Commit(compose("x", "", trailers), HUB, 1_764_000_000_000, puts or {}, (), source, slip)


@pytest.fixture(params=["pack", "plain"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n", "tasks/t-1.yaml": "title: x\n"})


@pytest.fixture
def store(clone: Clone, engine: Engine) -> GitStore:
    """A store that claimed the branch and wrote a little."""
    store = GitStore(clone.repo, engine=engine)
    store.flush((commit({**HUB_ATTRIBUTES, "status/hub.yaml": b"1\n"}, clone.head()),))
    write(store, 1, 2, 3)
    return store


def write(store: GitStore, *numbers: int) -> None:
    for number in numbers:
        store.flush((commit({"status/open/t-1.yaml": b"%d\n" % number}),))


def recover(clone: Clone, engine: Engine, hub_id: str = MINE, *, take_over: bool = False) -> tuple[GitStore, Fold]:
    store = GitStore(clone.repo, engine=engine)
    return store, store.recover(hub_id, take_over=take_over)


def first_parents(clone: Clone) -> list[str]:
    return clone.git("rev-list", "--first-parent", STATE).split()


# --- the judgement ---------------------------------------------------------------------------------------------------

TIP, HUBS = "1" * 40, "2" * 40
OWN = Epoch(3, MINE)


def test_another_hub_with_the_same_or_a_higher_epoch_ends_this_one_and_an_earlier_one_does_not(clone: Clone) -> None:
    person = read(clone, clone.head())

    def seen(number: int) -> Seen:
        return Seen(TIP, person, hub=HUBS, epoch=Epoch(number, OTHER))

    for number in (3, 4, 100):
        verdict = judge(STATE, OWN, seen(number))
        assert isinstance(verdict, Conflict)
        assert f"{number}/{OTHER}" in str(verdict)
        assert "--take-over" in str(verdict)
    earlier = judge(STATE, OWN, seen(2))
    assert isinstance(earlier, Slip)
    assert (earlier.tip, earlier.parent) == (TIP, TIP)


def test_what_is_gone_broken_or_behind_leaves_nothing_to_keep(clone: Clone) -> None:
    person = read(clone, clone.head())
    for seen in (Seen(None), Seen(TIP), Seen(TIP, person, behind=True)):
        verdict = judge(STATE, OWN, seen)
        assert isinstance(verdict, Slip)
        assert (verdict.tip, verdict.parent) == (seen.tip, None)


def read(clone: Clone, oid: str):  # type: ignore[no-untyped-def]
    from coordinator.git.objects import read_commits

    return read_commits(clone.repo.common_dir, [oid])[0]


# --- slips while no hub runs -----------------------------------------------------------------------------------------


def slip_commit(clone: Clone, own: str) -> None:
    clone.git("switch", "--quiet", STATE)
    clone.commit({"notes.txt": "mine", "status/open/t-1.yaml": "mine"}, "slip")
    clone.git("switch", "--quiet", "main")


def slip_amend(clone: Clone, own: str) -> None:
    clone.git("switch", "--quiet", STATE)
    clone.git("commit", "--quiet", "--amend", "-m", "better words")
    clone.git("switch", "--quiet", "main")


def slip_to_main(clone: Clone, own: str) -> None:
    clone.git("branch", "-f", STATE, "main")


def slip_unrelated(clone: Clone, own: str) -> None:
    tree = clone.git("mktree", input=b"")
    clone.git("update-ref", STATE_REF, clone.git("commit-tree", tree, "-m", "nothing"))


def slip_back(clone: Clone, own: str) -> None:
    clone.git("update-ref", STATE_REF, f"{STATE}~2")


def slip_delete(clone: Clone, own: str) -> None:
    clone.git("branch", "-D", STATE)


def slip_garbage(clone: Clone, own: str) -> None:
    (clone.repo.common_dir / STATE_REF).write_text("garbage\n")


def slip_empty(clone: Clone, own: str) -> None:
    (clone.repo.common_dir / STATE_REF).write_bytes(b"")


def slip_to_nowhere(clone: Clone, own: str) -> None:
    (clone.repo.common_dir / STATE_REF).write_text("1" * 40 + "\n")


def slip_packed_and_gc(clone: Clone, own: str) -> None:
    clone.git("branch", "-D", STATE)
    clone.git("update-ref", "refs/keep", own)
    clone.git("gc", "--quiet", "--prune=now")
    clone.git("update-ref", "-d", "refs/keep")


SLIPS = [
    slip_commit,
    slip_amend,
    slip_to_main,
    slip_unrelated,
    slip_back,
    slip_delete,
    slip_garbage,
    slip_empty,
    slip_to_nowhere,
    slip_packed_and_gc,
]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_while_no_hub_ran_is_put_back_and_what_it_made_is_kept(
    clone: Clone, store: GitStore, engine: Engine, slip
) -> None:
    own = clone.head(STATE)
    slip(clone, own)
    stood = clone.git("rev-parse", "--verify", "--quiet", STATE_REF, check=False)
    again, fold = recover(clone, engine)
    assert (fold.tip, fold.files["status/open/t-1.yaml"], fold.rescued) == (own, b"3\n", "")
    assert fold.slip is not None
    assert re.search("while no hub was running|which is not there|was broken", fold.slip.text)
    assert "\n" not in fold.slip.text
    last = again.flush((commit(slip=fold.slip), commit({"status/open/t-1.yaml": b"4\n"})))
    assert clone.head(STATE) == last
    assert first_parents(clone)[2] == own
    if fold.slip.parent is not None:
        assert clone.git("show", "-s", "--format=%P", f"{last}~1").split() == [own, stood]
        assert set(clone.tree(last)) == set(clone.tree(own))
    write(again, 5)
    assert clone.fsck() == ""
    _, fold = recover(clone, engine)
    assert (fold.slip, fold.rescued, fold.files["status/open/t-1.yaml"]) == (None, "", b"5\n")


def test_a_slip_in_a_clone_that_never_ran_a_hub_is_seen_by_first_parents(clone: Clone, store: GitStore) -> None:
    own = clone.head(STATE)
    slip_commit(clone, own)
    (clone.repo.agentcom_dir / STATE_TIP).unlink()
    fold = GitStore(clone.repo).recover("h-newhub00")
    assert fold.tip == own
    assert fold.slip is not None
    assert fold.slip.parent == clone.head(STATE)


def test_commits_that_were_written_after_the_note_count(clone: Clone, store: GitStore, engine: Engine) -> None:
    note = clone.repo.agentcom_dir / STATE_TIP
    early = note.read_bytes()
    write(store, 4, 5)
    note.write_bytes(early)
    _, fold = recover(clone, engine)
    assert (fold.tip, fold.slip, fold.files["status/open/t-1.yaml"]) == (clone.head(STATE), None, b"5\n")
    note.write_bytes(b"garbage")
    assert recover(clone, engine)[1].tip == clone.head(STATE)


def test_a_branch_that_no_hub_ever_wrote_to_is_a_conflict_in_one_line(clone: Clone) -> None:
    clone.git("branch", STATE, "main")
    for read_it in (GitStore(clone.repo).load, lambda: GitStore(clone.repo).recover(MINE)):
        with pytest.raises(Conflict, match="no hub ever wrote") as raised:
            read_it()
        assert "\n" not in str(raised.value)


# --- another hub -----------------------------------------------------------------------------------------------------


def test_a_hub_that_claimed_the_branch_since_then_is_named_and_followed_only_when_asked(
    clone: Clone, store: GitStore, engine: Engine
) -> None:
    own = clone.head(STATE)
    other = GitStore(clone.repo, engine=engine)
    other.load()
    other.flush((commit({"status/open/t-1.yaml": b"other\n"}, epoch=f"3/{OTHER}"),))
    (clone.repo.agentcom_dir / STATE_TIP).write_text(f"{own}\n")
    with pytest.raises(Conflict, match=f"3/{OTHER}.*--take-over"):
        recover(clone, engine)
    assert recover(clone, engine, "h-newhub00")[1].tip == clone.head(STATE)
    again, fold = recover(clone, engine, take_over=True)
    assert (fold.tip, fold.slip, fold.files["status/open/t-1.yaml"]) == (clone.head(STATE), None, b"other\n")
    write(again, 4)
    assert "agentcom/lost" not in clone.git("for-each-ref")


def test_the_line_that_is_given_up_is_kept_under_lost(clone: Clone, store: GitStore, engine: Engine) -> None:
    fork = clone.head(STATE)
    write(store, 4)
    own = clone.head(STATE)
    clone.git("update-ref", STATE_REF, fork)
    note = clone.repo.agentcom_dir / STATE_TIP
    other = GitStore(clone.repo, engine=engine)
    other.load()
    other.flush((commit({"status/open/t-1.yaml": b"other\n"}, epoch=f"3/{OTHER}"),))
    theirs = clone.head(STATE)
    note.write_text(f"{own}\n")
    with pytest.raises(Conflict, match=OTHER):
        recover(clone, engine)
    assert clone.git("for-each-ref", "refs/heads/agentcom/lost") == ""
    again, fold = recover(clone, engine, take_over=True)
    assert (fold.tip, clone.head(f"agentcom/lost/{MINE}")) == (theirs, own)
    write(again, 5)
    assert first_parents(clone)[1] == theirs
    assert clone.fsck() == ""


# --- a branch that is not whole --------------------------------------------------------------------------------------


def broken_blob(clone: Clone) -> None:
    lose(clone, clone.tree(STATE)["status/open/t-1.yaml"])


def broken_tree(clone: Clone) -> None:
    lose(clone, clone.head(f"{STATE}:status"))


def broken_commit(clone: Clone) -> None:
    lose(clone, clone.head(STATE))


def broken_before(clone: Clone) -> None:
    lose(clone, clone.head(f"{STATE}~1:status/open/t-1.yaml"))


@pytest.mark.parametrize("damage", [broken_blob, broken_tree, broken_commit])
def test_a_branch_that_is_not_whole_is_restored_to_its_newest_whole_commit(
    clone: Clone, store: GitStore, engine: Engine, damage
) -> None:
    good = clone.head(f"{STATE}~1")
    damage(clone)
    again, fold = recover(clone, engine)
    assert (fold.tip, fold.files["status/open/t-1.yaml"]) == (good, b"2\n")
    assert good[:12] in fold.rescued
    assert "its last com " not in fold.rescued
    assert "\n" not in fold.rescued
    assert fold.slip is not None
    again.flush((commit(slip=fold.slip), commit({"status/open/t-1.yaml": b"4\n"})))
    clone.git("reflog", "expire", "--expire=all", "--all")
    assert clone.fsck() == ""
    assert recover(clone, engine)[1].rescued == ""


def test_what_a_hub_settled_is_known_although_its_last_commit_is_missing(clone: Clone, store: GitStore) -> None:
    write(store, 4)
    good, source = clone.head(f"{STATE}~1"), clone.head()
    broken_commit(clone)
    known = last_known(clone.repo)
    assert known is not None
    assert known.oid == good
    assert last_observed(clone.repo) == source


def test_without_a_reflog_it_is_restored_to_the_backup(clone: Clone, store: GitStore, engine: Engine) -> None:
    backup = clone.head(f"{STATE}~2")
    clone.git("update-ref", BACKUP_REF, backup)
    broken_before(clone)
    shutil.rmtree(clone.repo.common_dir / "logs")
    again, fold = recover(clone, engine)
    assert (fold.tip, fold.files["status/open/t-1.yaml"]) == (backup, b"1\n")
    assert fold.rescued
    again.flush((commit(slip=fold.slip),))


def test_a_remote_that_is_newer_wins_over_the_backup(clone: Clone, store: GitStore, engine: Engine) -> None:
    clone.git("update-ref", BACKUP_REF, clone.head(f"{STATE}~3"))
    clone.git("update-ref", "refs/remotes/origin/agentcom/state", clone.head(f"{STATE}~2"))
    remote = clone.head(f"{STATE}~2")
    broken_before(clone)
    shutil.rmtree(clone.repo.common_dir / "logs")
    assert recover(clone, engine)[1].tip == remote


def test_when_nothing_whole_is_left_the_hub_does_not_begin_anew_by_itself(
    clone: Clone, store: GitStore, engine: Engine
) -> None:
    lose(clone, clone.head("main:BACKLOG.md"))
    lose(clone, clone.tree(f"{STATE}~3")["status/hub.yaml"])
    with pytest.raises(Fatal, match="restore this repository") as raised:
        recover(clone, engine)
    assert "\n" not in str(raised.value)
    assert "state-tip" in str(raised.value)
