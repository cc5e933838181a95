"""Listing the hub's folders tree by tree says what git's own recursive listing says."""

import random
import re
import subprocess
from pathlib import Path

import pytest
from support.repo import Clone, make_repo

from coordinator.git import listing
from coordinator.git.listing import list_files
from coordinator.git.objects import Object
from coordinator.git.parts import Layout
from coordinator.git.run import GitError

CLOSED = re.compile(r"status/closed/\d{4}/\d{2}/\d{2}/([a-z0-9][a-z0-9-]{0,63})\.yaml")
ODD = (
    "status/closed/notes.txt",
    "status/closed/2026/11/readme.yaml",
    "status/closed/2026/11/07/sub/t-1.yaml",
    "status/closed/2026/11/07/t-1.spec.yaml",
    "status/closed/2026/11/07/T-9.yaml",
    "status/closed/20261/11/07/t-5.yaml",
    "status/closed/old/11/07/t-6.yaml",
    "status/open/a\nb.yaml",
    "status/open/deep/er/t-7.yaml",
    "status/.gitattributes",
    "tasks/api/t-8.yaml",
    "agents/api/gcu.yaml",
)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_repo(tmp_path / "repo", {"BACKLOG.md": "- [ ] one\n", "tasks/t-1.yaml": "title: x\n"})


def by_git(clone: Clone, commit: str, layout: Layout) -> tuple[dict[str, str], dict[str, str]]:
    """Return files and finished tasks as ``git ls-tree -r`` lists them."""
    argv = ("git", "ls-tree", "-r", "-z", "--full-tree", commit, "--", *layout.hub_paths)
    out = subprocess.run(argv, cwd=clone.path, check=True, capture_output=True).stdout
    oids: dict[str, str] = {}
    closed: dict[str, str] = {}
    for row in out.split(b"\0")[:-1]:
        head, _, raw = row.partition(b"\t")
        path = layout.relative(raw.decode("utf-8", "surrogateescape")) or ""
        if not path.startswith("status/closed/"):
            oids[path] = head.split()[2].decode()
        elif match := CLOSED.fullmatch(path):
            closed[match[1]] = path
    return oids, closed


def tree_of(clone: Clone) -> str:
    return clone.git("rev-parse", "HEAD^{tree}").strip()


@pytest.mark.parametrize("root", [".", ".agentcom", "work/status"])
def test_the_listing_is_that_of_git_whatever_was_known_of_days_before(clone: Clone, root: str) -> None:
    layout, rng, days = Layout.of(root), random.Random(7), {}  # noqa: S311 - seeded histories
    for turn in range(8):
        files = {
            f"status/{'open' if rng.random() < 0.4 else f'closed/2026/{rng.randint(1, 3):02}/{rng.randint(1, 4):02}'}"
            f"/t-{rng.randint(1, 60)}.yaml": f"{turn}"
            for _ in range(25)
        }
        files |= {path: f"{turn}" for path in ODD if rng.random() < 0.7}
        clone.commit({layout.path(path): text for path, text in files.items()})
        if turn % 3 == 2:
            clone.git("rm", "-rq", "--ignore-unmatch", "--", layout.path("status/closed/2026/01"))
            clone.git("commit", "-qm", "a month goes")
        expected = by_git(clone, clone.head(), layout)
        for known in ({}, days):
            found = list_files(clone.repo.common_dir, tree_of(clone), layout, known)
            assert (found.oids, found.closed) == expected
        assert len(days) <= 13


def test_a_day_that_is_known_is_not_read_again(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit({f"status/closed/2026/11/{day:02}/t-{day}.yaml": "x" for day in range(1, 21)})
    days: dict[str, tuple[str, ...]] = {}
    first = list_files(clone.repo.common_dir, tree_of(clone), Layout.of("."), days)
    clone.commit({"status/closed/2026/11/20/t-99.yaml": "x"})
    read: list[str] = []
    real = listing.read_objects
    monkeypatch.setattr(listing, "read_objects", lambda place, oids: read.extend(oids) or real(place, oids))
    again = list_files(clone.repo.common_dir, tree_of(clone), Layout.of("."), days)
    assert again.closed == {**first.closed, "t-99": "status/closed/2026/11/20/t-99.yaml"}
    assert not days.keys() & set(read) - {clone.git("rev-parse", "HEAD:status/closed/2026/11/20").strip()}
    assert len(read) == len(set(read)) < 12


def test_a_day_whose_tree_is_gone_or_cut_off_is_an_error_and_no_empty_day(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.commit({"status/closed/2026/11/07/t-1.yaml": "x"})
    day = clone.git("rev-parse", "HEAD:status/closed/2026/11/07").strip()
    real = listing.read_objects
    damage: list[Object | None] = [None]

    def read(place: Path, oids: list[str]) -> list[Object | None]:
        return [damage[0] if oid == day else item for oid, item in zip(oids, real(place, oids), strict=True)]

    monkeypatch.setattr(listing, "read_objects", read)
    (whole,) = real(clone.repo.common_dir, [day])
    for damage[0] in (None, Object(day, "tree", whole.data[:-1])):
        with pytest.raises(GitError, match="git fsck"):
            list_files(clone.repo.common_dir, tree_of(clone), Layout.of("."), {})


def test_a_day_that_is_known_and_gone_is_an_error_all_the_same(clone: Clone) -> None:
    clone.commit({"status/closed/2026/11/07/t-1.yaml": "x"})
    day, days = clone.git("rev-parse", "HEAD:status/closed/2026/11/07").strip(), {}
    list_files(clone.repo.common_dir, tree_of(clone), Layout.of("."), days)
    assert day in days
    (clone.path / f".git/objects/{day[:2]}/{day[2:]}").unlink()
    with pytest.raises(GitError, match="git fsck"):
        list_files(clone.repo.common_dir, tree_of(clone), Layout.of("."), days)
