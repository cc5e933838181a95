"""What every store promises (coordinator.ports.Store), over the one in memory and the one in git alike."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.repo import make_repo

from coordinator.git.journal import HUB_ATTRIBUTES, GitStore
from coordinator.git.message import compose
from coordinator.memory import MemoryBranch, MemorySource, MemoryStore
from coordinator.ports import Author, Commit, Conflict, Slip, Slipped, Store

HUB = Author("AgentCom hub", "hub@agentcom.invalid")


class Bench:
    """One branch and one source: makes stores over the branch, commits on the source."""

    open: Callable[[], Store]
    edit: Callable[[str], str]
    slip: Callable[[], object]
    delete: Callable[[], object]


@pytest.fixture(params=["memory", "pack", "plain", "pack-root", "plain-root", "sha256"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench()
    if request.param == "memory":
        branch, source = MemoryBranch(), MemorySource()
        bench.open = lambda: MemoryStore(branch)
        bench.edit = lambda text: source.commit({"BACKLOG.md": text.encode()})
        bench.slip = lambda: branch.slip("Ada <ada@example.org>")
        bench.delete = branch.delete
    else:
        init = ("--object-format=sha256",) if request.param == "sha256" else ()
        root = ".agentcom" if request.param.endswith("-root") else "."
        engine = None if request.param == "sha256" else request.param.removesuffix("-root")
        clone = make_repo(tmp_path / "repo", None, *init)
        repo = clone.repo
        bench.open = lambda: GitStore(repo, root, engine=engine)
        bench.edit = lambda text: clone.commit({"BACKLOG.md": text})

        def slip() -> None:
            clone.git("switch", "--quiet", "agentcom/state")
            clone.commit({"notes.txt": "mine"})
            clone.git("switch", "--quiet", "main")

        bench.slip = slip
        bench.delete = lambda: clone.git("update-ref", "-d", "refs/heads/agentcom/state")
    yield bench


def commit(
    subject: str = "t-1: queued",
    puts: dict[str, bytes] | None = None,
    deletes: tuple[str, ...] = (),
    source: str | None = None,
    mentions: str | None = None,
    slip: Slip | None = None,
) -> Commit:
    trailers = [("Agentcom-Event", "created"), ("Agentcom-Epoch", "1/h-aaaaaaaa")]
    if named := source or mentions:
        trailers.append(("Agentcom-Source", named))
    return Commit(compose(subject, "", trailers), HUB, 1_764_000_000_000, puts or {}, deletes, source, slip)


def test_a_branch_that_does_not_exist_loads_as_an_empty_fold(bench: Bench) -> None:
    fold = bench.open().load()
    assert (fold.tip, fold.source, dict(fold.files), dict(fold.closed)) == (None, None, {}, {})


def test_a_claim_without_a_source_is_read_back(bench: Bench) -> None:
    tip = bench.open().flush((commit("hub: claim", dict(HUB_ATTRIBUTES)),))
    fold = bench.open().load()
    assert fold.tip == tip
    assert fold.source is None
    assert dict(fold.files) == HUB_ATTRIBUTES


def test_a_claim_with_a_source_is_read_back_with_that_source(bench: Bench) -> None:
    source = bench.edit("- [ ] one\n")
    bench.open().flush((commit("hub: claim", {"status/hub.yaml": b"x\n"}, source=source),))
    fold = bench.open().load()
    assert fold.source == source
    assert dict(fold.files) == {"status/hub.yaml": b"x\n"}


def test_files_put_and_deleted_over_several_flushes_fold_to_what_stands_last(bench: Bench) -> None:
    store = bench.open()
    store.flush((commit(puts={"status/open/t-1.yaml": b"1", "tasks/api/t-1.yaml": b"spec"}),))
    store.flush(
        (
            commit(puts={"status/open/t-1.yaml": b"2", "status/open/t-2.yaml": b"1"}),
            commit(puts={"status/open/t-2.yaml": b"2"}, deletes=("tasks/api/t-1.yaml",)),
        )
    )
    assert dict(bench.open().load().files) == {"status/open/t-1.yaml": b"2", "status/open/t-2.yaml": b"2"}


def test_any_bytes_come_back_as_they_went_in(bench: Bench) -> None:
    odd = {"status/a b.yaml": bytes(range(256)), 'status/q"\\é.txt': b"", "status/open/crlf.yaml": b"a\r\n\n"}
    bench.open().flush((commit(puts=odd),))
    assert dict(bench.open().load().files) == odd


def test_closed_tasks_are_listed_by_id_and_their_contents_are_read_on_demand(bench: Bench) -> None:
    store = bench.open()
    day = "status/closed/2026/11/22"
    store.flush((commit(puts={"status/open/t-1.yaml": b"open"}),))
    store.flush(
        (
            commit(
                puts={f"{day}/t-1.yaml": b"done", f"{day}/t-1.result.json": b"{}", f"{day}/t-1.spec.yaml": b"s"},
                deletes=("status/open/t-1.yaml",),
            ),
        )
    )
    again = bench.open()
    fold = again.load()
    assert dict(fold.closed) == {"t-1": f"{day}/t-1.yaml"}
    assert dict(fold.files) == {}
    assert again.read(f"{day}/t-1.result.json") == b"{}"
    assert store.read(f"{day}/t-1.yaml") == b"done"


def test_reading_what_is_not_there_gives_none(bench: Bench) -> None:
    store = bench.open()
    assert store.read("status/open/t-1.yaml") is None
    store.flush((commit(puts={"status/open/t-1.yaml": b"1"}),))
    assert store.read("status/open/t-2.yaml") is None
    assert store.read("status/open") is None


def test_a_delete_of_a_file_that_is_not_there_is_no_error(bench: Bench) -> None:
    store = bench.open()
    store.flush((commit(puts={"status/hub.yaml": b"1"}),))
    store.flush((commit(deletes=("status/open/t-9.yaml",)),))
    assert dict(store.load().files) == {"status/hub.yaml": b"1"}


def test_an_empty_flush_returns_the_tip_and_writes_nothing(bench: Bench) -> None:
    store = bench.open()
    tip = store.flush((commit(puts={"status/hub.yaml": b"1"}),))
    assert store.flush(()) == tip
    assert bench.open().load().tip == tip


def test_an_observation_moves_the_source_and_leaves_the_hubs_files(bench: Bench) -> None:
    store = bench.open()
    first = bench.edit("- [ ] one\n")
    store.flush((commit("hub: claim", {"status/open/t-1.yaml": b"1"}, source=first),))
    second = bench.edit("- [ ] two\n")
    store.flush(
        (
            commit("hub: observed", source=second),
            commit(puts={"status/backlog.json": b"[]"}),
        )
    )
    fold = bench.open().load()
    assert fold.source == second
    assert dict(fold.files) == {"status/open/t-1.yaml": b"1", "status/backlog.json": b"[]"}


def test_the_source_stays_known_through_later_commits_and_claims(bench: Bench) -> None:
    store = bench.open()
    source = bench.edit("- [ ] one\n")
    store.flush((commit("hub: claim", {"status/hub.yaml": b"1"}, source=source),))
    for number in range(3):
        store.flush((commit(puts={"status/open/t-1.yaml": b"%d" % number}),))
    assert bench.open().load().source == source
    store.flush((commit("hub: claim", {"status/hub.yaml": b"2"}, mentions=source),))
    assert bench.open().load().source == source


def test_a_store_that_lost_the_branch_to_another_hub_raises_conflict_and_writes_nothing(bench: Bench) -> None:
    mine, other = bench.open(), bench.open()
    mine.flush((commit(puts={"status/hub.yaml": b"mine"}),))
    other.load()
    tip = other.flush((commit(puts={"status/hub.yaml": b"other"}),))
    with pytest.raises(Conflict, match="another hub"):
        mine.flush((commit(puts={"status/hub.yaml": b"late"}),))
    fold = bench.open().load()
    assert (fold.tip, dict(fold.files)) == (tip, {"status/hub.yaml": b"other"})


def test_two_first_claims_do_not_both_win(bench: Bench) -> None:
    mine, other = bench.open(), bench.open()
    mine.load()
    other.load()
    tip = mine.flush((commit("hub: claim", {"status/hub.yaml": b"mine"}),))
    with pytest.raises(Conflict):
        other.flush((commit("hub: claim", {"status/hub.yaml": b"other"}),))
    assert bench.open().load().tip == tip


def slipped(store: Store) -> Slip:
    with pytest.raises(Slipped) as raised:
        store.flush((commit(puts={"status/hub.yaml": b"2"}),))
    return raised.value.slip


def test_a_persons_commit_on_the_branch_is_a_slip_that_names_them_and_is_put_back(bench: Bench) -> None:
    store = bench.open()
    bench.edit("- [ ] one\n")
    tip = store.flush((commit("hub: claim", {"status/hub.yaml": b"1"}),))
    assert store.look() is None
    bench.slip()
    slip = slipped(store)
    assert "Ada" in slip.text
    assert "who is no hub" in slip.text
    assert slip.tip == slip.parent
    assert store.look() == slip
    fold = bench.open().load()
    assert (fold.tip, fold.slip, dict(fold.files)) == (tip, slip, {"status/hub.yaml": b"1"})
    last = store.flush((commit(slip=slip), commit(puts={"status/hub.yaml": b"2"})))
    fold = bench.open().load()
    assert (fold.tip, fold.slip, dict(fold.files)) == (last, None, {"status/hub.yaml": b"2"})
    assert store.look() is None
    store.flush((commit(puts={"status/hub.yaml": b"3"}),))


def test_a_branch_that_was_deleted_is_a_slip_and_is_put_back(bench: Bench) -> None:
    store = bench.open()
    store.flush((commit("hub: claim", {"status/hub.yaml": b"1"}),))
    bench.delete()
    slip = slipped(store)
    assert (slip.tip, slip.parent) == (None, None)
    assert "deleted" in slip.text
    last = store.flush((commit(slip=slip), commit(puts={"status/hub.yaml": b"2"})))
    fold = bench.open().load()
    assert (fold.tip, dict(fold.files)) == (last, {"status/hub.yaml": b"2"})


def test_a_slip_that_was_followed_by_another_one_is_refused_again(bench: Bench) -> None:
    store = bench.open()
    bench.edit("- [ ] one\n")
    store.flush((commit("hub: claim", {"status/hub.yaml": b"1"}),))
    bench.slip()
    first = slipped(store)
    bench.delete()
    with pytest.raises(Slipped) as raised:
        store.flush((commit(slip=first), commit(puts={"status/hub.yaml": b"2"})))
    assert raised.value.slip.tip is None
    assert dict(bench.open().recover("h-aaaaaaaa").files) == {"status/hub.yaml": b"1"}


@pytest.mark.parametrize(
    "path",
    ["BACKLOG.md", "tasks/t-1.yaml", "status", "status/../BACKLOG.md", "/status/a", "status//a", "status/.git/x", ""],
)
def test_a_path_outside_the_hubs_folders_is_refused_before_anything_is_written(bench: Bench, path: str) -> None:
    store = bench.open()
    with pytest.raises(ValueError, match="hub's folders"):
        store.flush((commit(puts={"status/hub.yaml": b"1"}), commit(puts={path: b"x"})))
    assert bench.open().load().tip is None


def test_a_commit_that_would_read_back_as_a_persons_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="Agentcom-Epoch"):
        bench.open().flush((Commit("no trailers\n", HUB, 0, {"status/hub.yaml": b"1"}),))


def test_an_observation_must_name_its_source_in_the_trailer(bench: Bench) -> None:
    source = bench.edit("- [ ] one\n")
    silent = Commit(compose("x", "", [("Agentcom-Epoch", "1/h-a")]), HUB, 0, {}, (), source)
    with pytest.raises(ValueError, match="Agentcom-Source"):
        bench.open().flush((silent,))
