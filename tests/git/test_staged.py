"""The index is read as it is, never written, and HEAD beside it."""

import os
from pathlib import Path

import pytest
from support.repo import Clone, make_repo

from coordinator.git.repo import find_repo
from coordinator.git.staged import in_head, in_index
from coordinator.ports import Entry


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- a\n", "tasks/t-1.yaml": "title: x\n", "src/a.txt": "a\n"})


def test_what_is_staged_is_seen_and_what_is_only_saved_is_not(clone: Clone) -> None:
    clone.write({"tasks/t-2.yaml": "title: two\n", "agents/a.yaml": "name: A\n", "BACKLOG.md": "- saved\n"})
    clone.git("add", "tasks")
    clone.git("rm", "--quiet", "--cached", "tasks/t-1.yaml")
    seen = in_index(clone.repo)
    assert seen.entries("").keys() == {"BACKLOG.md", "tasks/t-2.yaml"}
    entry = seen.entries("")["tasks/t-2.yaml"]
    assert entry.size == len("title: two\n")
    assert seen.blobs((entry.oid,)) == {entry.oid: b"title: two\n"}
    assert in_head(clone.repo).entries("").keys() == {"BACKLOG.md", "tasks/t-1.yaml"}


def test_a_file_that_is_only_meant_to_be_added_is_not_there(clone: Clone) -> None:
    clone.write({"tasks/t-2.yaml": "title: two\n", "tasks/t-3.yaml": ""})
    clone.git("add", "--intent-to-add", "tasks/t-2.yaml")
    clone.git("add", "tasks/t-3.yaml")
    assert in_index(clone.repo).entries("").keys() == {"BACKLOG.md", "tasks/t-1.yaml", "tasks/t-3.yaml"}


def test_links_and_folders_are_told_by_their_modes(clone: Clone) -> None:
    (clone.path / "tasks/link.yaml").symlink_to("t-1.yaml")
    clone.write({"tasks/deep/t-2.yaml": "title: x\n", "agents": "a file\n"})
    clone.git("add", "--all")
    entries = in_index(clone.repo).entries("")
    assert entries["tasks/link.yaml"].mode == "120000"
    assert entries["tasks/deep"] == Entry("040000", "", -1)
    assert entries["agents"].mode == "100644"


def test_a_root_of_its_own_is_read_beside_the_policy_at_the_top(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"agentcom.yaml": "root: .a\n", ".a/tasks/t-1.yaml": "title: x\n", "tasks/x": ""})
    for read in (in_index, in_head):
        assert read(clone.repo, ".a").entries("").keys() == {"agentcom.yaml", "tasks/t-1.yaml"}


def test_before_the_first_commit_head_holds_nothing(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r")
    clone.write({"tasks/t-1.yaml": "title: x\n"})
    clone.git("add", "--all")
    assert in_head(clone.repo).entries("") == {}
    assert in_index(clone.repo).entries("").keys() == {"tasks/t-1.yaml"}


def test_the_index_is_not_refreshed(clone: Clone) -> None:
    (clone.path / "BACKLOG.md").write_text("- a\n")
    os.utime(clone.path / "BACKLOG.md", (1, 1))
    before = (clone.path / ".git/index").read_bytes(), (clone.path / ".git/index").stat().st_mtime_ns
    in_index(clone.repo)
    in_head(clone.repo)
    assert ((clone.path / ".git/index").read_bytes(), (clone.path / ".git/index").stat().st_mtime_ns) == before


def test_the_index_of_a_linked_work_tree_is_its_own(clone: Clone, tmp_path: Path) -> None:
    clone.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    linked = Clone(tmp_path / "linked")
    linked.write({"tasks/t-2.yaml": "title: x\n"})
    linked.git("add", "--all")
    assert "tasks/t-2.yaml" in in_index(find_repo(linked.path)).entries("")
    assert "tasks/t-2.yaml" not in in_index(clone.repo).entries("")


def test_the_index_that_git_names_in_a_hook_is_the_one_that_is_read(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.write({"tasks/t-2.yaml": "title: x\n"})
    clone.git("add", "--all")
    (clone.path / ".git/index").rename(clone.path / ".git/next-index")
    monkeypatch.chdir(clone.path)
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/next-index")
    assert "tasks/t-2.yaml" in in_index(clone.repo).entries("")


def test_odd_names_are_read_whole(clone: Clone) -> None:
    clone.write({"tasks/a b\n.yaml": "title: x\n"})
    clone.git("add", "--all")
    assert "tasks/a b\n.yaml" in in_index(clone.repo).entries("")
