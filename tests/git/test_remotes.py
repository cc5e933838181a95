"""Which remote the hub of a clone has: named once, remembered, never merely because it exists."""

from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo

from coordinator.git.remotes import CannotUseRemote, choose, clone, hub_remote, url_of


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "remote.git")


@pytest.fixture
def repo(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"a.txt": "a\n"})


def test_a_remote_that_merely_exists_is_not_the_hubs(repo: Clone, bare: Path) -> None:
    repo.git("remote", "add", "origin", str(bare))
    assert hub_remote(repo.repo) is None


def test_an_address_that_no_remote_has_becomes_origin_and_is_remembered(repo: Clone, bare: Path) -> None:
    assert choose(repo.repo, str(bare)) == "origin"
    assert hub_remote(repo.repo) == "origin"
    assert repo.git("remote", "get-url", "origin") == str(bare)


def test_origin_is_left_alone_when_it_is_something_else(repo: Clone, bare: Path) -> None:
    repo.git("remote", "add", "origin", "/srv/elsewhere.git")
    assert choose(repo.repo, str(bare)) == "agentcom"
    assert repo.git("remote", "get-url", "origin") == "/srv/elsewhere.git"


def test_a_remote_that_has_the_address_or_the_name_is_used(repo: Clone, bare: Path) -> None:
    repo.git("remote", "add", "forge", f"file://{bare}")
    assert choose(repo.repo, str(bare)) == "forge"
    assert choose(repo.repo, "none") is None
    assert hub_remote(repo.repo) is None
    assert choose(repo.repo, "forge") == "forge"
    assert repo.git("remote") == "forge"


def test_no_remote_can_be_chosen_twice_over(repo: Clone) -> None:
    assert choose(repo.repo, "none") is None
    assert choose(repo.repo, "none") is None


def test_two_names_taken_ask_for_a_third(repo: Clone, bare: Path) -> None:
    repo.git("remote", "add", "origin", "/srv/a.git")
    repo.git("remote", "add", "agentcom", "/srv/b.git")
    with pytest.raises(CannotUseRemote, match="git remote add NAME URL"):
        choose(repo.repo, str(bare))


@pytest.mark.parametrize("wanted", ["http://example.org/x", "ext::sh", "upstream", "../up.git"])
def test_what_is_no_remote_and_no_good_address_changes_nothing(repo: Clone, wanted: str) -> None:
    with pytest.raises(CannotUseRemote, match="--remote"):
        choose(repo.repo, wanted)
    assert repo.git("remote") == ""
    assert hub_remote(repo.repo) is None


def test_an_address_where_nobody_answers_changes_nothing(repo: Clone, tmp_path: Path) -> None:
    for wanted in (str(tmp_path / "typo.git"), "https://ada:s3cret@127.0.0.1:1/x.git"):
        with pytest.raises(CannotUseRemote, match="cannot be reached, and no remote was added") as refused:
            choose(repo.repo, wanted)
        assert not refused.value.wrong
        assert "s3cret" not in str(refused.value)
        assert "\n" not in str(refused.value)
    assert repo.git("remote") == ""
    assert hub_remote(repo.repo) is None


def test_a_remote_of_a_kind_that_is_not_spoken_is_refused_by_its_name_too(repo: Clone) -> None:
    repo.git("remote", "add", "origin", "https://ada:s3cret@example.org/x")
    repo.git("remote", "set-url", "--add", "--push", "origin", "http://ada:s3cret@example.org/x")
    with pytest.raises(CannotUseRemote, match="http:// is not spoken") as refused:
        choose(repo.repo, "origin")
    assert "s3cret" not in str(refused.value)


def test_a_remote_that_was_removed_is_named_with_what_to_do(repo: Clone, bare: Path) -> None:
    choose(repo.repo, str(bare))
    repo.git("remote", "rename", "origin", "other")
    with pytest.raises(CannotUseRemote, match=r"no remote named origin.*--remote none"):
        url_of(repo.repo, "origin")


def test_an_address_is_shown_without_its_secret(repo: Clone) -> None:
    repo.git("remote", "add", "origin", "https://ada:s3cret@example.org/x")
    assert url_of(repo.repo, "origin") == "https://example.org/x"


def test_a_clone_is_whole(bare: Path, repo: Clone, tmp_path: Path) -> None:
    repo.git("push", "--quiet", str(bare), "main", "main:other")
    clone(str(bare), tmp_path / "deep" / "made")
    made = Clone(tmp_path / "deep" / "made")
    assert made.git("for-each-ref", "--format=%(refname)", "refs/remotes/origin/main", "refs/remotes/origin/other")
    assert made.head() == repo.head()
    assert not (made.path / ".git" / "shallow").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]


def test_a_clone_goes_into_an_empty_folder_and_leaves_nothing_when_it_fails(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    clone(str(bare), tmp_path / "empty")
    assert (tmp_path / "empty" / ".git").is_dir()
    with pytest.raises(CannotUseRemote, match="cannot be cloned") as refused:
        clone(str(tmp_path / "nowhere.git"), tmp_path / "made")
    assert not refused.value.wrong
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "remote.git"]


def test_an_address_that_is_not_spoken_is_not_cloned(tmp_path: Path) -> None:
    with pytest.raises(CannotUseRemote, match="is not spoken"):
        clone("http://ada:s3cret@example.org/x", tmp_path / "made")
    assert not (tmp_path / "made").exists()
