"""Which repositories can be used, what refs name, and what a real source says beyond the contract of every source."""

from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo

from coordinator.git.journal import GitStore
from coordinator.git.message import compose
from coordinator.git.parts import Layout, people_parts
from coordinator.git.repo import (
    BranchInTheWay,
    GitSource,
    NoRepository,
    PartialClone,
    Shallow,
    check_repo,
    find_repo,
    head_ref,
    read_ref,
)
from coordinator.git.run import GitError
from coordinator.ports import Author, Commit, SourceUnreadable

MAIN = "refs/heads/main"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n", "tasks/t-1.yaml": "title: x\n"})


def observe(clone: Clone, source: str, puts: dict[str, bytes] | None = None) -> str:
    """Let a hub observe one source commit, as its claim or later on."""
    store = GitStore(clone.repo)
    store.load()
    text = compose("hub: observed", "", [("Agentcom-Epoch", "1/h-aaaaaaaa"), ("Agentcom-Source", source)])
    return store.flush((Commit(text, Author("AgentCom hub", "hub@agentcom.invalid"), 0, puts or {}, (), source),))


def test_a_folder_deep_in_a_work_tree_finds_its_repository(clone: Clone) -> None:
    repo = find_repo(clone.path / "tasks")
    assert (repo.work_tree, repo.git_dir, repo.common_dir) == (clone.path, clone.path / ".git", clone.path / ".git")
    assert repo.object_format == "sha1"
    assert not repo.bare


def test_a_linked_work_tree_has_a_git_dir_of_its_own_and_shares_the_common_one(clone: Clone, tmp_path: Path) -> None:
    clone.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    repo = find_repo(tmp_path / "linked")
    assert repo.work_tree == tmp_path / "linked"
    assert repo.git_dir == clone.path / ".git/worktrees/linked"
    assert repo.common_dir == clone.path / ".git"
    assert head_ref(repo) == "refs/heads/other"


def test_a_bare_repository_has_no_work_tree(tmp_path: Path) -> None:
    repo = find_repo(make_bare(tmp_path / "b.git"))
    assert repo.bare
    assert head_ref(repo) == MAIN


def test_a_sha256_repository_says_so(tmp_path: Path) -> None:
    assert make_repo(tmp_path / "r", None, "--object-format=sha256").repo.object_format == "sha256"


def test_a_directory_without_a_repository_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(NoRepository, match=r"not inside a git repository: run `git init`") as raised:
        find_repo(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_directory_that_does_not_exist_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(NoRepository, match="does not exist"):
        find_repo(tmp_path / "nowhere")


def test_an_ordinary_clone_can_be_used(clone: Clone) -> None:
    check_repo(clone.repo)


def test_a_shallow_clone_is_refused_with_the_command_that_helps(clone: Clone, tmp_path: Path) -> None:
    clone.commit({"a": "x"})
    clone.git("clone", "--quiet", "--depth=1", f"file://{clone.path}", str(tmp_path / "s"))
    with pytest.raises(Shallow, match="git fetch --unshallow"):
        check_repo(find_repo(tmp_path / "s"))


def test_a_partial_clone_is_refused(clone: Clone, tmp_path: Path) -> None:
    clone.git("config", "uploadpack.allowFilter", "true")
    clone.git("clone", "--quiet", "--filter=blob:none", f"file://{clone.path}", str(tmp_path / "p"))
    with pytest.raises(PartialClone, match="partial clone"):
        check_repo(find_repo(tmp_path / "p"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_branch_named_agentcom_is_refused_with_the_command_that_helps(clone: Clone, packed: bool) -> None:
    clone.git("branch", "agentcom")
    if packed:
        clone.git("pack-refs", "--all")
    with pytest.raises(BranchInTheWay, match="git branch -m agentcom"):
        check_repo(clone.repo)


def test_a_detached_head_names_no_ref(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--detach")
    assert head_ref(clone.repo) is None


def test_a_ref_is_read_loose_packed_moved_after_packing_and_symbolic(clone: Clone) -> None:
    assert read_ref(clone.repo, MAIN) == clone.head()
    clone.git("pack-refs", "--all", "--prune")
    assert read_ref(clone.repo, MAIN) == clone.head()
    new = clone.commit({"a": "x"})
    assert read_ref(clone.repo, MAIN) == new
    clone.git("symbolic-ref", "refs/heads/alias", MAIN)
    assert read_ref(clone.repo, "refs/heads/alias") == new
    assert read_ref(clone.repo, "refs/heads/mai") is None
    assert read_ref(clone.repo, "refs/heads") is None


def test_a_broken_ref_is_an_error_and_not_an_absent_branch(clone: Clone) -> None:
    (clone.path / ".git/refs/heads/main").write_text("")
    with pytest.raises(GitError, match="broken"):
        read_ref(clone.repo, MAIN)


def test_entries_under_a_root_are_relative_to_it_and_agentcom_yaml_stands_at_the_top(tmp_path: Path) -> None:
    files = {"agentcom.yaml": "root: ops\n", "ops/agentcom.yaml": "no", "ops/BACKLOG.md": "x", "BACKLOG.md": "no"}
    clone = make_repo(tmp_path / "r", {**files, "ops/tasks/t-1.yaml": "x", "tasks/t-2.yaml": "no"})
    source = GitSource(clone.repo, MAIN, "ops/")
    entries = source.entries(clone.head())
    assert set(entries) == {"agentcom.yaml", "BACKLOG.md", "tasks/t-1.yaml"}
    assert source.blobs((entries["agentcom.yaml"].oid,)) == {entries["agentcom.yaml"].oid: b"root: ops\n"}


def test_links_scripts_and_files_in_the_place_of_folders_are_entries_that_can_be_reported(clone: Clone) -> None:
    clone.git("rm", "-rq", "tasks")
    (clone.path / "agents").mkdir()
    (clone.path / "agents/l.yaml").symlink_to("/etc/passwd")
    commit = clone.commit({"tasks": "a file"})
    entries = GitSource(clone.repo, MAIN).entries(commit)
    assert entries["agents/l.yaml"].mode == "120000"
    assert entries["tasks"].mode == "100644"


def test_a_pull_and_a_further_edit_bring_no_old_backlog_back(clone: Clone) -> None:
    source = GitSource(clone.repo, MAIN)
    observe(clone, clone.head())
    for number in range(3):
        edited = clone.commit({"BACKLOG.md": f"- [ ] {number}\n"})
        observed = edited
        observe(clone, edited)
        clone.git("merge", "--quiet", "--ff-only", "agentcom/state")
        assert not source.needs_observation(clone.head(), observed)
        assert source.backlog_versions(clone.head(), observed) == ()
        next_ = clone.commit({"BACKLOG.md": f"- [ ] {number}, more\n"})
        assert source.needs_observation(next_, observed)
        assert source.backlog_versions(next_, observed) == (clone.head(f"{next_}:BACKLOG.md"),)
        assert set(source.authors(next_, observed)) == {"", "BACKLOG.md"}
        observe(clone, next_)


def test_an_older_commit_with_the_same_peoples_part_is_quiet(clone: Clone) -> None:
    first = clone.head()
    observe(clone, first)
    second = clone.commit({"x": "1"})
    observe(clone, second)
    third = clone.commit({"x": None})
    observe(clone, third)
    source = GitSource(clone.repo, MAIN)
    assert not source.needs_observation(first, third)
    assert source.needs_observation(second, third)


def test_with_a_remote_an_unchanged_peoples_part_is_quiet_unless_it_confirms(clone: Clone) -> None:
    first = clone.head()
    observe(clone, first)
    empty = clone.commit({})
    local, remote = (GitSource(clone.repo, MAIN, remote=flag) for flag in (False, True))
    assert local.needs_observation(empty, first)
    assert not remote.needs_observation(empty, first)
    assert remote.needs_observation(clone.commit({}, f"ok\n\nAgentcom-Confirm: {first}"), first)


def test_on_a_source_commit_with_hub_trailers_only_its_committer_is_believed(clone: Clone) -> None:
    first = clone.head()
    faked = clone.commit({"BACKLOG.md": "x"}, "s\n\nAgentcom-Epoch: 1/h-a", author=("Hub", "hub@agentcom.invalid"))
    assert GitSource(clone.repo, MAIN).authors(faked, first)["BACKLOG.md"].author.name == "Ada Lovelace"


def test_the_author_of_a_merged_file_is_the_one_who_wrote_it(clone: Clone) -> None:
    first = clone.head()
    clone.git("switch", "--quiet", "-c", "topic")
    clone.commit({"tasks/t-2.yaml": "x"}, author=("Bob", "bob@x"))
    clone.git("switch", "--quiet", "main")
    clone.commit({"z": "x"})
    clone.git("merge", "--quiet", "--no-ff", "-m", "merge topic", "topic")
    authors = GitSource(clone.repo, MAIN).authors(clone.head(), first)
    assert (authors["tasks/t-2.yaml"].author.name, authors[""].author.name) == ("Bob", "Ada Lovelace")


def test_a_merge_is_one_version_of_the_backlog_by_first_parents(clone: Clone) -> None:
    first = clone.head()
    clone.git("switch", "--quiet", "-c", "topic")
    clone.commit({"BACKLOG.md": "topic 1\n"})
    clone.commit({"BACKLOG.md": "topic 2\n"})
    clone.git("switch", "--quiet", "main")
    clone.git("merge", "--quiet", "--no-ff", "-m", "merge topic", "topic")
    versions = GitSource(clone.repo, MAIN).backlog_versions(clone.head(), first)
    assert versions == (clone.head("HEAD:BACKLOG.md"),)


@pytest.mark.parametrize("path", ["status/x", "tasks/backlog/x", "tasks/api/x", "agents/api/x"])
def test_before_the_first_observation_anything_at_a_hub_path_is_a_problem(clone: Clone, path: str) -> None:
    source = GitSource(clone.repo, MAIN)
    assert source.problems(clone.head(), first=True) == ()
    commit = clone.commit({path: "a product's own"})
    (problem,) = source.problems(commit, first=True)
    assert problem.startswith(f"{path.rpartition('/')[0]}/ stands on main already")
    assert "root: .agentcom" in problem
    assert source.problems(commit, first=False) == ()
    assert GitSource(clone.repo, MAIN, ".agentcom").problems(commit, first=True) == ()


@pytest.mark.parametrize("path", ["tasks", "agents", "status", "tasks/backlog", "agents/api"])
@pytest.mark.parametrize("first", [True, False])
def test_a_file_where_a_folder_must_stand_is_a_problem_at_any_time(tmp_path: Path, path: str, first: bool) -> None:
    clone = make_repo(tmp_path / "r", {path: "a file"})
    (problem,) = GitSource(clone.repo, MAIN).problems(clone.head(), first=first)
    assert problem.startswith(f"{path} on main is no folder")


@pytest.mark.parametrize("path", ["Status/x", "TASKS/x", "tasks/Backlog/x", "agents/API/x", "Agents"])
@pytest.mark.parametrize("first", [True, False])
def test_a_twin_that_differs_in_case_is_a_problem_at_any_time(tmp_path: Path, path: str, first: bool) -> None:
    clone = make_repo(tmp_path / "r", {path: "x"})
    (problem,) = GitSource(clone.repo, MAIN).problems(clone.head(), first=first)
    assert "only in case" in problem


@pytest.mark.parametrize("root", ["..", "/abs", "a/../b", ".git", "x/.GIT/y", "a\nb", "a\\b"])
def test_a_root_outside_the_repository_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match="root"):
        Layout.of(root)


@pytest.mark.parametrize(
    ("root", "meant"), [("", ""), (".", ""), ("./", ""), ("./ops/", "ops"), (".agentcom", ".agentcom")]
)
def test_a_root_is_read_as_people_write_it(root: str, meant: str) -> None:
    assert Layout.of(root).root == meant


def test_peoples_parts_differ_exactly_when_something_outside_the_hubs_folders_differs(clone: Clone) -> None:
    base = clone.commit({"a/b": "1", "tasks/api/x": "1"})
    hub = clone.commit({"tasks/api/x": "2", "status/y": "1", "agents/api/z": "1"})
    people = clone.commit({"a/b": "2"})
    parts = people_parts(clone.repo.common_dir, (base, hub, people), Layout.of("."))
    assert parts[0] == parts[1] != parts[2]


def test_settings_of_a_person_do_not_hide_who_wrote_the_first_files(clone: Clone) -> None:
    clone.git("config", "log.showRoot", "false")
    tip = clone.commit({"z": "x"}, author=("Bob", "bob@x"))
    assert GitSource(clone.repo, MAIN).authors(tip, None)["BACKLOG.md"].author.name == "Ada Lovelace"


@pytest.mark.parametrize("name", ["a\u0085b", "a\u2028b", "a\x0bb"])
def test_a_repository_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    assert make_repo(tmp_path / name).repo.work_tree == tmp_path / name


def test_paths_count_from_the_top_wherever_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer = make_repo(tmp_path / "outer", {"x": "1"})
    inner = make_repo(tmp_path / "inner", {"BACKLOG.md": "1", "deep/f": "x"})
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "lib")
    lib = Clone(outer.path / "lib")
    first = lib.head()
    lib.git("config", "user.name", "Ada")
    lib.git("config", "user.email", "ada@x")
    tips = [lib.commit({"BACKLOG.md": text}) for text in ("2", "3")]
    monkeypatch.chdir(lib.path / "deep")
    source = GitSource(find_repo(Path()), MAIN)
    assert len(source.backlog_versions(tips[-1], first)) == 2
    assert set(source.authors(tips[-1], first)) == {"", "BACKLOG.md"}


def test_what_cannot_be_read_is_named_by_its_remedy(clone: Clone) -> None:
    source = GitSource(clone.repo, MAIN)
    with pytest.raises(SourceUnreadable, match="missing"):
        source.problems("12" * 20, first=False)
    (clone.path / ".git/refs/heads/main").write_text("")
    with pytest.raises(SourceUnreadable, match="broken"):
        source.tip()
