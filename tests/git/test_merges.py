"""Merged work is found as git shows it: merged, fast-forwarded, squashed, rebased; and nothing else counts."""

import time
from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo

from coordinator.git import merges
from coordinator.git.mirror import Away, Mirror

LONG_AGO = 1_000_000_000_000
BRANCH = "loash/t-1-seven"


@pytest.fixture
def work(tmp_path: Path) -> Clone:
    """A clone with a branch of two commits, on main again."""
    clone = make_repo(tmp_path / "work", {"a.txt": "".join(f"{n}\n" for n in range(40)), "b.txt": "b\n"})
    clone.git("switch", "--quiet", "-c", BRANCH)
    clone.commit({"seven.txt": "7\n"}, "Write seven")
    clone.commit({"a.txt": "first\n" + "".join(f"{n}\n" for n in range(40))}, "Say first")
    clone.git("switch", "--quiet", "main")
    return clone


def found(clone: Clone, since_ms: int = LONG_AGO) -> merges.Merge | None:
    return merges.find(clone.path / ".git", clone.head(BRANCH), clone.head("main"), since_ms)


def test_work_that_stands_on_its_branch_alone_is_not_merged(work: Clone) -> None:
    assert found(work) is None
    work.commit({"other.txt": "main goes on\n"})
    assert found(work) is None


def test_a_merge_commit_is_named_with_who_made_it_also_later(work: Clone) -> None:
    work.commit({"other.txt": "main goes on\n"})
    work.git("merge", "--quiet", "--no-ff", "--no-edit", BRANCH)
    merge = work.head()
    for number in range(5):
        work.commit({"other.txt": f"{number}\n"})
    seen = found(work)
    assert seen is not None
    assert (seen.commit, seen.by.name, seen.by.email) == (merge, "Ada Lovelace", "ada@example.org")


def test_a_fast_forward_is_named_by_the_work_itself(work: Clone) -> None:
    head = work.head(BRANCH)
    work.git("merge", "--quiet", "--ff-only", BRANCH)
    work.commit({"other.txt": "main goes on\n"})
    seen = found(work)
    assert seen is not None
    assert seen.commit == head


def test_a_merge_is_its_makers_also_when_the_branch_was_pulled_up_to_what_the_hub_made_of_it(work: Clone) -> None:
    state = work.head()
    work.git("merge", "--quiet", "--no-ff", "--no-edit", BRANCH)
    merge = work.head()
    for source in (merge, merge):
        said = f"observe it\n\nAgentcom-Event: observed\nAgentcom-Source: {source}\nAgentcom-Epoch: 1/h-1\n"
        hub = ("-c", "user.name=AgentCom hub", "-c", "user.email=hub@example.org", "commit-tree")
        state = work.git(*hub, f"{source}^{{tree}}", "-p", state, "-p", source, "-m", said)
    work.git("merge", "--quiet", "--ff-only", state)
    seen = found(work)
    assert seen is not None
    assert (seen.commit, seen.by.name) == (merge, "Ada Lovelace")


def test_a_squash_is_found_although_main_had_moved_on(work: Clone) -> None:
    work.commit({"other.txt": "main goes on\n", "a.txt": "".join(f"{n}\n" for n in range(40)) + "last\n"})
    work.git("merge", "--quiet", "--squash", BRANCH)
    work.git("commit", "--quiet", "-m", "Seven (#1)")
    squashed = work.head()
    work.commit({"other.txt": "again\n"})
    seen = found(work)
    assert seen is not None
    assert seen.commit == squashed


def test_a_rebase_is_found_and_a_part_of_it_is_not_enough(work: Clone) -> None:
    work.commit({"other.txt": "main goes on\n"})
    first, last = work.head(f"{BRANCH}~1"), work.head(BRANCH)
    work.git("cherry-pick", first)
    assert found(work) is None
    work.git("cherry-pick", last)
    seen = found(work)
    assert seen is not None
    assert seen.commit == work.head()


def test_a_squash_that_was_edited_is_not_the_same_work(work: Clone) -> None:
    work.git("merge", "--quiet", "--squash", BRANCH)
    work.commit({"seven.txt": "8\n"}, "Eight")
    assert found(work) is None


def test_what_the_base_had_before_the_work_began_is_no_work_of_it(work: Clone) -> None:
    work.git("merge", "--quiet", "--no-ff", "--no-edit", BRANCH)
    later = int(time.time() * 1000) + 120_000
    assert found(work, later) is None


def test_a_branch_without_a_change_is_never_merged_work(work: Clone) -> None:
    work.git("branch", "--force", BRANCH, "main~0")
    work.git("switch", "--quiet", BRANCH)
    work.commit({}, "nothing")
    work.git("switch", "--quiet", "main")
    work.commit({"other.txt": "main goes on\n"})
    assert found(work) is None


def test_a_mirror_has_what_is_asked_for_and_the_merge_is_seen_in_it(work: Clone, tmp_path: Path) -> None:
    bare = Clone(make_bare(tmp_path / "remote.git"))
    bare.git("config", "uploadpack.allowFilter", "true")
    work.git("remote", "add", "origin", str(bare.path))
    work.git("push", "--quiet", "origin", "main", BRANCH)
    mirror = Mirror(tmp_path / "mirrors" / "app.git", str(bare.path))

    before = mirror.look(["main", BRANCH, "nobody/has-this"])
    assert before == {"main": work.head("main"), BRANCH: work.head(BRANCH)}
    assert merges.find(mirror.git_dir, before[BRANCH], before["main"], LONG_AGO) is None

    work.git("merge", "--quiet", "--squash", BRANCH)
    work.git("commit", "--quiet", "-m", "Seven (#1)")
    work.git("push", "--quiet", "origin", "main")
    work.git("push", "--quiet", "origin", "--delete", BRANCH)
    after = mirror.look(["main", BRANCH])
    assert after == {"main": work.head("main")}
    seen = merges.find(mirror.git_dir, before[BRANCH], after["main"], LONG_AGO)
    assert seen is not None
    assert seen.commit == work.head("main")


def test_a_mirror_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(Away, match=r"does not appear to be a git repository|does not exist"):
        Mirror(tmp_path / "m.git", str(tmp_path / "nowhere")).look(["main"])
    with pytest.raises(Away, match="is not spoken here"):
        Mirror(tmp_path / "m.git", "http://user:secret@example.org/app.git").look(["main"])
