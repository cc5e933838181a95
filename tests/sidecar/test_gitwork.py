"""Where an attempt works in git, before any agent runs: clones, their places, and who cares for git itself."""

import os
from pathlib import Path

import pytest
from support.repo import make_repo

from coordinator.wire.frames import TaskAssign
from sidecar.gitwork import Gitwork, Repos, place_of


def assignment(**fields: object) -> TaskAssign:
    return TaskAssign(**{"task_id": "t-1", "title": "Write seven", "generation": 1, "assigned_at": 0, **fields})


def gitwork(folder: Path, **repos: object) -> Gitwork:
    return Gitwork("loash", Repos(folder / "repos", **{"paths": {}, **repos}), os.environ)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../b", "app"])
def test_a_clone_stands_in_its_folder_whatever_the_repository_is_called(tmp_path: Path, name: str) -> None:
    app = make_repo(tmp_path / "app", {"a.txt": "a\n"})
    attempt = tmp_path / "state/results/t-1.1"
    attempt.mkdir(parents=True)
    work = gitwork(tmp_path / "state")
    place = work.begin(assignment(repo=name, repo_url=str(app.path), base="main"), attempt)
    assert place is not None
    assert place == place_of(attempt)
    assert (place.path / "a.txt").read_text() == "a\n"
    clones = [path.parent for path in tmp_path.rglob(".git") if path.is_dir() and path.parent != app.path]
    assert [clone.parent for clone in clones] == [tmp_path / "state/repos"]


def test_another_address_under_the_same_name_is_another_clone(tmp_path: Path) -> None:
    work = gitwork(tmp_path / "state")
    for number, name in enumerate(("one", "two"), 1):
        other = make_repo(tmp_path / name, {"a.txt": f"{name}\n"})
        attempt = tmp_path / f"state/results/t-1.{number}"
        attempt.mkdir(parents=True)
        place = work.begin(assignment(repo="app", repo_url=str(other.path), generation=number), attempt)
        assert place is not None
        assert (place.path / "a.txt").read_text() == f"{name}\n"


def test_an_agent_that_is_woken_cares_for_git_itself_unless_the_repository_is_listed(tmp_path: Path) -> None:
    old = gitwork(tmp_path, one=tmp_path, by_itself=True)
    assert not old.cares_for(assignment(repo="app", repo_url="https://example.org/app.git"))
    assert old.refusal(assignment(repo="app")) is None
    assert gitwork(tmp_path, paths={"app": tmp_path}, by_itself=True).cares_for(assignment(repo="app"))
    assert gitwork(tmp_path, one=tmp_path).cares_for(assignment(repo="app"))


def test_a_task_without_a_repository_is_none_of_its_business(tmp_path: Path) -> None:
    work = gitwork(tmp_path, one=tmp_path)
    assert not work.cares_for(assignment())
    assert work.refusal(assignment()) is None
