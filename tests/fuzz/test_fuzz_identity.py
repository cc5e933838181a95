"""Whatever is edited, lines keep their tasks: looked at once or often, here or in another clone, moved or reworded."""

from hypothesis import given
from hypothesis import strategies as st
from support import edits
from support.edits import Line, Version, far_title, items_of
from support.fuzzing import fuzz, no_hang
from support.world import World

from coordinator.core.backlog import BacklogMap, carry, spec_of
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.task import ID_PATTERN
from coordinator.files import emitter, loader

# --- any script of edits ---------------------------------------------------------------------------------------------


def finished_of(versions: list, number: int) -> frozenset[str]:
    """Return a few tasks of the first version as finished: every bit of ``number`` is one."""
    entries = carry(BacklogMap(), versions[:1]).map.entries
    return frozenset(entry.id for n, entry in enumerate(entries) if entry.started and number >> n & 1)


@fuzz("looks")
@given(edits.edit_scripts(), st.integers(0, 15), st.integers(0, 5))
def test_ids_do_not_depend_on_how_often_somebody_looked(script, number, split):
    versions = [items_of(version) for version in script]
    finished = finished_of(versions, number)
    first = carry(BacklogMap(), versions[:1]).map
    with no_hang():
        at_once = carry(first, versions[1:], finished, finished).map
    used, known = set(finished), first
    for items in versions[1:]:
        used |= {entry.id for entry in known.entries if entry.started}
        with no_hang():
            known = carry(known, [items], finished, used).map
    assert known == at_once
    halfway = carry(first, versions[1 : split + 1], finished, finished).map
    tasks = finished | {entry.id for entry in halfway.entries if entry.started}
    assert carry(halfway, versions[split + 1 :], finished, tasks).map == at_once


@fuzz("second looks")
@given(edits.edit_scripts(), st.integers(0, 15))
def test_every_line_has_an_id_of_its_own_and_a_second_look_changes_nothing(script, number):
    versions = [items_of(version) for version in script]
    finished = finished_of(versions, number)
    carried = carry(BacklogMap(), versions[:1])
    for items in versions[1:]:
        carried = carry(carried.map, [items], finished, finished)
        names = [entry.id for entry in carried.map.entries]
        assert len(set(names)) == len(names) == len(carried.items)
        assert len(carried.items) + len(carried.duplicates) == len(items)
        assert all(map(ID_PATTERN.match, names))
        assert not set(names) & {entry.id for entry in carried.map.gone}
        used = finished | {entry.id for entry in (*carried.map.entries, *carried.map.gone) if entry.started}
        again = carry(carried.map, [items], finished, used)
        assert again.map == carried.map
        assert not again.renamed


@fuzz("clones")
@given(edits.edit_scripts(), st.integers(0, 15))
def test_two_clones_agree_and_a_restart_forgets_nothing(script, number):
    versions = [items_of(version) for version in script]
    finished = finished_of(versions, number)
    here = there = carry(BacklogMap(), versions[:1]).map
    for items in versions[1:]:
        here = carry(here, [items], finished, finished).map
        written = emitter.emit_backlog_map(there)
        read = loader.load_backlog_map("status/backlog.json", written)
        assert isinstance(read, BacklogMap)
        assert emitter.emit_backlog_map(read) == written
        there = carry(read, [items], finished, finished).map
    assert here == there


# --- edits with a meaning --------------------------------------------------------------------------------------------


def plain_version(count: int, headings: tuple[str, ...] = ("Ready",)) -> Version:
    return tuple(Line(n, far_title(n), headings[n % len(headings)]) for n in range(count))


def works(version: Version, known: BacklogMap) -> dict[int, str]:
    """Return the id of each piece of work."""
    names = {(entry.title, entry.heading): entry.id for entry in known.entries}
    items = items_of(version)
    assert len(names) == len(items) == len(known.entries)
    of_title = {line.title: line.work for line in version}
    return {of_title[item.title]: entry.id for item, entry in zip(items, known.entries, strict=True)}


@fuzz("moves and rewordings")
@given(
    st.integers(2, 12),
    st.lists(
        st.tuples(
            st.sampled_from(["move", "shuffle", "reword", "lane", "box"]), st.integers(0, 999), st.integers(0, 999)
        ),
        max_size=9,
    ),
    st.booleans(),
)
def test_a_line_that_is_moved_or_put_into_other_words_is_the_same_task(count, edits, at_once):
    version = list(plain_version(count, ("Ready", "Inbox", "In Progress")))
    versions = [tuple(version)]
    for number, (kind, at, to) in enumerate(edits):
        here = at % len(version)
        line = version[here]
        match kind:
            case "move":
                del version[here]
                version.insert(to % (len(version) + 1), line)
            case "shuffle":
                version.sort(key=lambda one: (one.work * 7919 + to) % 101)
            case "reword":
                version[here] = Line(line.work, far_title(1_000 + number), line.heading, line.check)
            case "lane":
                heading = ("Ready", "Inbox", "In Progress", "Someday")[to % 4]
                version[here] = Line(line.work, line.title, heading, line.check)
            case "box":
                version[here] = Line(line.work, line.title, line.heading, "" if line.check else " ")
        versions.append(tuple(version))
    first = carry(BacklogMap(), [items_of(versions[0])]).map
    known = first
    if at_once:
        known = carry(first, [items_of(one) for one in versions[1:]]).map
    else:
        for one in versions[1:]:
            known = carry(known, [items_of(one)]).map
    assert works(versions[-1], known) == works(versions[0], first)


places = st.tuples(st.integers(1, 4), st.integers(0, 4), st.integers(0, 4))


@fuzz("replaced lines")
@given(st.lists(places, min_size=1, max_size=4), st.booleans())
def test_other_work_in_the_place_of_several_lines_is_never_an_old_task(places, looked_between):
    """Each place is so many lines that stay, so many that go after them, and so many that come instead."""
    old, between, new = [], [], []
    alone = set()
    for number, (stay, go, come) in enumerate(places):
        kept = [Line(n, far_title(n)) for n in range(100 * number, 100 * number + stay)]
        fresh = [Line(n, far_title(n)) for n in range(1_000 + 100 * number, 1_000 + 100 * number + come)]
        old += [*kept, *(Line(n, far_title(n)) for n in range(100 * number + 50, 100 * number + 50 + go))]
        between += kept
        new += [*kept, *fresh]
        if (go, come) == (1, 1) and not looked_between:
            alone.add(fresh[0].work)
    before = carry(BacklogMap(), [items_of(tuple(old))]).map
    versions = [items_of(tuple(between))] if looked_between else []
    after = carry(before, [*versions, items_of(tuple(new))]).map
    was, now = works(tuple(old), before), works(tuple(new), after)
    assert all(now[work] == name for work, name in was.items() if work in now)
    assert not {name for work, name in now.items() if work >= 1_000 and work not in alone} & {*was.values()}


# --- nothing that runs is hurt by a new order ------------------------------------------------------------------------

titles = st.sampled_from(["Water the plants", "Water the plants", "Call Bo", "Write docs", "Fix it"])
chores = st.lists(st.tuples(titles, st.sampled_from(["Ready", "Ready", "Inbox"])), min_size=1, max_size=10)


@fuzz("reorderings")
@given(chores, st.randoms(use_true_random=False), st.integers(0, 1023), st.integers(0, 2))
def test_a_new_order_cancels_nothing_and_moves_no_tick(lines, random, ticks, agents):
    world = World()
    for number in range(agents):
        world.add_agents(f"a{number}")
        world.connect(f"a{number}")
    version = [Line(n, title, heading) for n, (title, heading) in enumerate(lines)]
    known = observe(world, version, BacklogMap())
    version = [Line(one.work, one.title, one.heading, "x" if ticks >> n & 1 else " ") for n, one in enumerate(version)]
    known = observe(world, version, known)
    states = {name: task.state for name, task in world.core.memory.tasks.items()}
    random.shuffle(version)
    observe(world, version, known)
    assert {name: task.state for name, task in world.core.memory.tasks.items()} == states
    assert State.CANCELLED not in states.values()


def observe(world, version, known):
    """Let the core see a version, as the hub does: ready lines, and those that are tasks already."""
    tasks = world.core.memory.tasks
    finished = {name for name, task in tasks.items() if task.finished} | world.core.memory.closed
    used = tasks.keys() | world.core.memory.closed
    carried = carry(known, [items_of(tuple(version))], finished, used)
    pairs = list(zip(carried.map.entries, carried.items, strict=True))
    wanted = [(e, i) for e, i in pairs if e.id in used or (e.lane is Lane.READY and i.check == " ")]
    world.specs = {entry.id: spec_of(item, entry) for entry, item in wanted}
    world.places = {entry.id: (entry.lane, number) for number, (entry, _) in enumerate(pairs)}
    world.observe()
    return carried.map
