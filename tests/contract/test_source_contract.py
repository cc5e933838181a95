"""What every source promises (coordinator.ports.Source), over the one in memory and the one in git alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.repo import make_repo

from coordinator.git.repo import GitSource
from coordinator.memory import SOMEBODY, MemorySource
from coordinator.ports import Author, Source


@dataclass
class Bench:
    source: Source
    commit: Callable[..., str]
    rewind: Callable[[str], object]

    def backlog(self, text: str) -> str:
        return self.commit({"BACKLOG.md": text.encode()})

    def texts(self, commit: str, observed: str | None) -> list[str]:
        versions = self.source.backlog_versions(commit, observed)
        return [self.source.blobs((oid,))[oid].decode() for oid in versions]


@pytest.fixture(params=["memory", "git"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    if request.param == "memory":
        source = MemorySource()
        return Bench(source, source.commit, source.set_tip)
    clone = make_repo(tmp_path / "repo")

    def commit(files: Mapping[str, bytes | None], author: Author = SOMEBODY, message: str = "edit") -> str:
        return clone.commit(files, message, (author.name, author.email))

    real = GitSource(clone.repo, "refs/heads/main")
    return Bench(real, commit, lambda to: clone.git("reset", "--quiet", "--hard", to))


def test_a_source_that_does_not_exist_has_no_tip(bench: Bench) -> None:
    assert bench.source.tip() is None


def test_the_tip_is_the_last_commit(bench: Bench) -> None:
    bench.backlog("1")
    two = bench.backlog("2")
    assert bench.source.tip() == two


def test_entries_are_what_the_loader_reads_and_nothing_else(bench: Bench) -> None:
    commit = bench.commit(
        {
            "BACKLOG.md": b"- [ ] a\n",
            "agentcom.yaml": b"suspend: true\n",
            "README.md": b"no",
            "tasks/t-1.yaml": b"title: x\n",
            "tasks/README.md": b"readme",
            "tasks/backlog/t-2.yaml": b"the hub's",
            "agents/loash.yaml": b"name: Loash\n",
            "src/tasks/t-3.yaml": b"no",
        }
    )
    entries = bench.source.entries(commit)
    assert set(entries) == {
        "BACKLOG.md",
        "agentcom.yaml",
        "tasks/t-1.yaml",
        "tasks/README.md",
        "tasks/backlog",
        "agents/loash.yaml",
    }
    assert entries["tasks/t-1.yaml"].mode == "100644"
    assert entries["tasks/t-1.yaml"].size == 9
    assert (entries["tasks/backlog"].mode, entries["tasks/backlog"].size) == ("040000", -1)


def test_blobs_come_by_id_and_unknown_ids_are_left_out(bench: Bench) -> None:
    commit = bench.commit({"BACKLOG.md": b"\xff\x00\n"})
    oid = bench.source.entries(commit)["BACKLOG.md"].oid
    assert dict(bench.source.blobs((oid, "0" * 40))) == {oid: b"\xff\x00\n"}
    assert dict(bench.source.blobs(())) == {}


def test_the_first_commit_needs_observation_and_an_observed_one_does_not(bench: Bench) -> None:
    one = bench.backlog("1")
    assert bench.source.needs_observation(one, None)
    assert not bench.source.needs_observation(one, one)


def test_a_new_commit_needs_observation_even_when_it_changes_nothing_here(bench: Bench) -> None:
    one = bench.backlog("1")
    two = bench.commit({"other.txt": b"x"})
    three = bench.commit({})
    assert bench.source.needs_observation(two, one)
    assert bench.source.needs_observation(three, two)


def test_a_rewind_to_other_content_needs_observation(bench: Bench) -> None:
    one = bench.backlog("1")
    two = bench.backlog("2")
    bench.rewind(one)
    assert bench.source.needs_observation(one, two)


def test_before_the_first_observation_the_tips_backlog_is_the_only_version(bench: Bench) -> None:
    bench.backlog("1")
    assert bench.texts(bench.backlog("2"), None) == ["2"]


def test_every_version_of_the_backlog_since_the_last_observation_counts_oldest_first(bench: Bench) -> None:
    one = bench.backlog("1")
    bench.backlog("2")
    bench.commit({"other.txt": b"x"})
    bench.backlog("3")
    last = bench.commit({"other.txt": b"y"})
    assert bench.texts(last, one) == ["2", "3"]
    assert bench.texts(last, last) == []


def test_a_rewind_is_one_new_version(bench: Bench) -> None:
    one = bench.backlog("1")
    two = bench.backlog("2")
    bench.rewind(one)
    assert bench.texts(one, two) == ["1"]


def test_a_deleted_backlog_has_no_version(bench: Bench) -> None:
    one = bench.backlog("1")
    gone = bench.commit({"BACKLOG.md": None, "x": b"x"})
    assert bench.texts(gone, one) == []
    assert bench.texts(bench.backlog("2"), gone) == ["2"]


def test_the_author_of_each_changed_path_is_the_one_who_changed_it_last(bench: Bench) -> None:
    one = bench.commit({"BACKLOG.md": b"1", "tasks/old.yaml": b"x"}, author=Author("Ada", "ada@x"))
    two = bench.commit({"tasks/t-1.yaml": b"1", "BACKLOG.md": b"2"}, author=Author("Bob", "bob@x"))
    three = bench.commit({"tasks/t-1.yaml": b"2", "other": b"z"}, author=Author("Cyd", "cyd@x"))
    authors = bench.source.authors(three, one)
    assert {path: version.author.name for path, version in authors.items()} == {
        "": "Cyd",
        "tasks/t-1.yaml": "Cyd",
        "BACKLOG.md": "Bob",
    }
    assert authors["BACKLOG.md"].commit == two
    assert set(bench.source.authors(three, None)) == {"", "tasks/t-1.yaml", "tasks/old.yaml", "BACKLOG.md"}


def test_confirmations_of_all_new_commits_are_kept_with_the_tip(bench: Bench) -> None:
    one = bench.backlog("1")
    bench.commit({"a": b"1"}, message="yes\n\nAgentcom-Confirm: 1234\n")
    tip = bench.commit({"b": b"1"}, message="more\n")
    assert bench.source.authors(tip, one)[""].confirms == ("1234",)


def test_what_came_and_went_again_since_the_last_observation_is_no_version(bench: Bench) -> None:
    one = bench.backlog("1")
    bench.backlog("2")
    assert bench.texts(bench.backlog("1"), one) == []


def test_a_history_that_does_not_lead_back_to_the_observed_text_has_one_version(bench: Bench) -> None:
    one = bench.backlog("1")
    two = bench.backlog("2")
    bench.rewind(one)
    bench.backlog("3")
    assert bench.texts(bench.backlog("4"), two) == ["4"]


def test_the_same_text_by_another_history_has_no_version(bench: Bench) -> None:
    one = bench.backlog("1")
    bench.backlog("2")
    three = bench.backlog("3")
    bench.rewind(one)
    bench.commit({"other.txt": b"x"})
    bench.backlog("2")
    assert bench.texts(bench.backlog("3"), three) == []


def test_blobs_over_a_given_size_are_left_out_unread(bench: Bench) -> None:
    commit = bench.commit({"BACKLOG.md": b"12345", "agentcom.yaml": b"1234"})
    oids = tuple(entry.oid for entry in bench.source.entries(commit).values())
    assert sorted(bench.source.blobs(oids, 4).values()) == [b"1234"]
