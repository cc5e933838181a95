"""Identity of backlog items: who is who after an edit, in one clone and in two, looked at once or often."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies

from coordinator.core import backlog
from coordinator.core.backlog import DONE, NO_CHECK, OPEN, BacklogMap, Item, carry, fold
from coordinator.core.policy import Lane
from coordinator.core.task import ID_PATTERN, Origin, Priority

LANES = {"Ready": Lane.READY, "Inbox": Lane.DRAFT, "In Progress": Lane.IN_PROGRESS, "Done": Lane.DONE}


def version(*titles: str) -> list[Item]:
    """Build a version from ``Heading/title`` words; ``x `` before a title is a tick, ``<t-1>`` after it an anchor."""
    items = []
    for line, word in enumerate(titles, 1):
        heading, _, title = word.rpartition("/")
        heading = heading or "Ready"
        check = OPEN
        if title.startswith("x "):
            title, check = title[2:], DONE
        title, _, anchor = title.partition(" <")
        anchored = anchor.rstrip(">") or None
        items.append(Item(title, line, heading, LANES.get(heading, Lane.DRAFT), check, anchored, digest=fold(title)))
    return items


def ids(carried) -> dict[str, str]:
    """Return title -> id of a version without namesakes."""
    return {item.title: entry.id for item, entry in zip(carried.items, carried.map.entries, strict=True)}


def test_a_birth_id_is_the_hash_of_what_was_written():
    import hashlib

    digest = hashlib.sha256(b"fix the caf\xc3\xa9\nready\n0\n0").digest()
    bits = int.from_bytes(digest[:5])
    expected = "t-" + "".join("0123456789abcdefghjkmnpqrstvwxyz"[bits >> 5 * n & 31] for n in range(7, -1, -1))
    carried = carry(BacklogMap(), [version("Fix  the CAFE\u0301")])
    assert [entry.id for entry in carried.map.entries] == [expected]
    assert ID_PATTERN.match(expected)


def test_a_birth_id_grows_on_collision():
    first = carry(BacklogMap(), [version("A")]).map.entries[0].id
    second = carry(BacklogMap(), [version("A")], used={first}).map.entries[0].id
    assert second.startswith(first) and len(second) == len(first) + 1


def test_equal_titles_get_ids_of_their_own_and_keep_them():
    first = carry(BacklogMap(), [version("A", "A", "B")])
    assert len({entry.id for entry in first.map.entries}) == 3
    assert carry(first.map, [version("A", "A", "B")]).map == first.map


def test_a_moved_item_keeps_its_id():
    before = carry(BacklogMap(), [version("Inbox/A", "Ready/B", "Ready/C")])
    after = carry(before.map, [version("Ready/C", "Ready/A", "Ready/B")])
    assert ids(after) == ids(before)


def test_the_one_removed_and_the_one_added_item_of_a_hunk_are_one_item_reworded():
    before = carry(BacklogMap(), [version("A", "Fix the login", "B")])
    after = carry(before.map, [version("A", "Something quite different", "B")])
    assert ids(after)["Something quite different"] == ids(before)["Fix the login"]
    assert [old for old, _ in after.renamed] == ["fix the login"]


def test_two_items_replaced_at_one_place_are_new_unless_one_is_alike():
    before = carry(BacklogMap(), [version("A", "Fix the login page of the shop", "Water plants", "B")])
    after = carry(before.map, [version("A", "Paint it", "Fix the login pages of the shop", "B")])
    assert ids(after)["Fix the login pages of the shop"] == ids(before)["Fix the login page of the shop"]
    assert ids(after)["Paint it"] not in ids(before).values()


def test_similarity_that_is_not_unique_gives_new_items():
    before = carry(BacklogMap(), [version("A", "Write chapter 10", "B")])
    after = carry(before.map, [version("A", "B", "Write chapter 11", "Write chapter 12")])
    assert ids(before)["Write chapter 10"] not in ids(after).values()


def test_an_anchor_wins_over_title_and_place():
    before = carry(BacklogMap(), [version("A <t-1>", "B <t-2>")])
    after = carry(before.map, [version("B <t-1>", "A <t-2>", "C <t-3>")])
    assert ids(after) == {"B": "t-1", "A": "t-2", "C": "t-3"}


def test_the_second_item_with_one_anchor_is_no_item():
    carried = carry(BacklogMap(), [version("A <t-1>", "B <t-1>")])
    assert ids(carried) == {"A": "t-1"}
    assert [item.title for item in carried.duplicates] == ["B"]


def test_a_chore_written_again_after_it_was_done_is_a_new_task():
    first = carry(BacklogMap(), [version("Chore")])
    name = first.map.entries[0].id
    gone = carry(first.map, [version()], finished={name}, used={name})
    again = carry(gone.map, [version("Chore")], finished={name}, used={name})
    assert again.map.entries[0].id != name


def test_a_title_that_a_reworded_task_once_bore_gives_a_new_id():
    first = carry(BacklogMap(), [version("Fix the logins")])
    name = first.map.entries[0].id
    gone = carry(first.map, [version("Fix the login"), version()])
    later = carry(gone.map, [version("Fix the logins")], finished={name}, used={name})
    assert later.map.entries[0].id != name


def test_a_line_that_is_put_back_while_its_task_is_not_finished_is_that_task():
    first = carry(BacklogMap(), [version("A", "Chore", "B")])
    name = ids(first)["Chore"]
    gone = carry(first.map, [version("A", "B")], used={name})
    assert [entry.id for entry in gone.map.gone] == [name]
    back = carry(gone.map, [version("A", "B", "Chore")], used={name})
    assert (ids(back)["Chore"], back.map.gone, back.map.finished) == (name, (), {})


def test_a_line_that_is_put_back_in_the_place_of_another_is_not_taken_for_that_one():
    first = carry(BacklogMap(), [version("A", "Chore", "B")])
    gone = carry(first.map, [version("A", "Water plants", "B"), version("A", "B")])
    replaced = carry(gone.map, [version("A", "Other work", "B"), version("A", "Water plants", "B")])
    assert ids(replaced)["Water plants"] == ids(first)["Chore"]


def test_an_anchored_line_that_is_put_back_is_forgotten_as_gone():
    first = carry(BacklogMap(), [version("A <t-1>")])
    back = carry(first.map, [version(), version("Quite another title <t-1>")])
    assert (back.map.entries[0].id, back.map.gone) == ("t-1", ())


def test_a_gone_task_counts_as_a_namesake_from_the_moment_it_is_finished():
    first = carry(BacklogMap(), [version("Chore")])
    name = first.map.entries[0].id
    gone = carry(first.map, [version()], used={name})
    again = carry(gone.map, [version()], finished={name}, used={name})
    assert (again.map.gone, again.map.finished) == ((), {("chore", "ready"): 1})


def test_a_finished_chore_moved_to_done_and_written_again_at_once_is_a_new_task():
    first = carry(BacklogMap(), [version("x Chore", "A")])
    name = ids(first)["Chore"]
    for again in (version("Chore", "A", "Done/x Chore"), version("Chore", "A", "Done/Chore")):
        after = carry(first.map, [again], finished={name}, used={name})
        assert [entry.id == name for entry in after.map.entries] == [False, False, True]


def test_a_chore_written_beside_its_ticked_line_is_a_new_task():
    first = carry(BacklogMap(), [version("Chore")])
    name = first.map.entries[0].id
    again = carry(first.map, [version("Chore", "x Chore")], finished={name}, used={name})
    assert [entry.id == name for entry in again.map.entries] == [False, True]


def test_new_work_in_the_place_of_a_finished_line_is_a_new_task():
    first = carry(BacklogMap(), [version("A", "Chore", "B")])
    name = ids(first)["Chore"]
    after = carry(first.map, [version("A", "Other work", "B")], finished={name}, used=set(ids(first).values()))
    assert ids(after)["Other work"] != name


def test_in_progress_is_draft_when_first_seen_there_and_else_as_it_was():
    first = carry(BacklogMap(), [version("Ready/A", "In Progress/B", "Inbox/C")])
    after = carry(first.map, [version("In Progress/A", "In Progress/B", "In Progress/C")])
    assert [entry.lane for entry in first.map.entries] == [Lane.READY, Lane.DRAFT, Lane.DRAFT]
    assert [entry.lane for entry in after.map.entries] == [Lane.READY, Lane.DRAFT, Lane.DRAFT]


def test_reordering_equal_lines_never_moves_a_tick_to_another_task():
    first = carry(BacklogMap(), [version("x A", "A")])
    after = carry(first.map, [version("A", "x A")])
    assert {entry.id: entry.check for entry in after.map.entries} == {e.id: e.check for e in first.map.entries}


def test_an_item_becomes_a_specification():
    item = Item(
        "Title", 7, "Ready", Lane.READY, OPEN, None, "text", Priority.HIGH, ("l",), ("python",), ("t-2",), "loash"
    )
    entry = carry(BacklogMap(), [[item]]).map.entries[0]
    spec = backlog.spec_of(item, entry)
    assert (spec.id, spec.title, spec.description, spec.where) == (entry.id, "Title", "text", "BACKLOG.md:7")
    assert (spec.priority, spec.labels, spec.needed_capabilities) == (Priority.HIGH, ("l",), ("python",))
    assert (spec.depends_on, spec.assignee, spec.origin) == (("t-2",), "loash", Origin.BACKLOG)
    assert (spec.done, spec.cancel) == (False, False)
    assert backlog.spec_of(replace(item, check=DONE), entry).done
    assert backlog.spec_of(replace(item, check="-"), entry).cancel
    assert backlog.spec_of(item, replace(entry, lane=Lane.DONE)).done


def test_two_thousand_items_with_one_changed_keep_all_their_ids():
    titles = [f"Do the thing number {number}" for number in range(2000)]
    before = carry(BacklogMap(), [version(*titles)])
    titles[1000] = "Do another thing"
    after = carry(before.map, [version(*titles)])
    assert [entry.id for entry in after.map.entries] == [entry.id for entry in before.map.entries]


def test_a_backlog_written_anew_from_end_to_end_is_no_rewording():
    before = carry(BacklogMap(), [version(*(f"Old {number}" for number in range(300)))])
    after = carry(before.map, [version(*(f"New work of quite another kind {number}" for number in range(300)))])
    assert not set(ids(before).values()) & set(ids(after).values())


histories = st.lists(strategies.versions, min_size=1, max_size=4)


@settings(max_examples=80, deadline=None)
@given(histories, st.integers(min_value=0, max_value=3))
def test_compiling_a_version_twice_changes_nothing(history, some):
    carried = carry(BacklogMap(), history)
    finished = {entry.id for entry in carried.map.entries[:some]}
    used = {entry.id for entry in carried.map.entries}
    again = carry(carried.map, [history[-1]], finished, used)
    assert again.map == carried.map
    assert not again.renamed


@settings(max_examples=80, deadline=None)
@given(histories, st.integers(min_value=0, max_value=4))
def test_ids_do_not_depend_on_how_often_somebody_looked(history, split):
    at_once = carry(BacklogMap(), history).map
    halfway = carry(BacklogMap(), history[:split]).map
    became_tasks = {entry.id for entry in halfway.entries if entry.started}
    assert carry(halfway, history[split:], used=became_tasks).map == at_once


@settings(max_examples=80, deadline=None)
@given(strategies.versions, strategies.versions)
def test_no_two_items_share_an_id_and_every_item_has_one(first, second):
    carried = carry(BacklogMap(), [first, second])
    names = [entry.id for entry in carried.map.entries]
    assert len(set(names)) == len(names) == len(second)
    assert all(ID_PATTERN.match(name) for name in names)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("ABCDEFGH"), unique=True), st.randoms(use_true_random=False))
def test_a_reordering_keeps_every_id(titles, random):
    before = carry(BacklogMap(), [version(*titles)])
    random.shuffle(titles)
    assert ids(carry(before.map, [version(*titles)])) == ids(before)


def test_no_check_mark_and_an_open_box_are_the_same_item():
    first = carry(BacklogMap(), [version("A", "A")])
    boxed = [replace(item, check=NO_CHECK) for item in version("A", "A")]
    assert [e.id for e in carry(first.map, [boxed]).map.entries] == [e.id for e in first.map.entries]


def test_a_line_that_is_put_back_under_another_heading_is_its_task_again():
    """Cut here in one commit, pasted there in the next: as if it had been moved in one."""
    first = carry(BacklogMap(), [version("Ready/do it", "Ready/else")])
    gone = carry(first.map, [version("Ready/else")])
    back = carry(gone.map, [version("Ready/else", "Now/do it")])
    assert ids(back)["do it"] == ids(first)["do it"]
