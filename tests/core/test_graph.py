"""Circles of dependencies: every name on one is found, with a shortest circle; nobody else."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.graph import circles, spell

NAMES = "abcdef"
graphs = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4, unique=True))


def reaches(needs, start, goal):
    seen, waiting = set(), list(needs.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += needs.get(name, ())
    return goal in seen


@given(graphs)
def test_just_the_names_that_wait_for_themselves_are_on_a_circle(needs):
    found = circles(needs)
    assert found.keys() == {name for name in needs if reaches(needs, name, name)}
    for name, ring in found.items():
        assert name == ring[0] or (reaches(needs, name, ring[0]) and reaches(needs, ring[0], name))
        assert all(after in needs[before] for before, after in pairwise((*ring, ring[0])))
        assert len(set(ring)) == len(ring)


def test_a_circle_behind_a_name_that_was_looked_at_before_is_found_too():
    needs = {"a": ["b", "c"], "b": ["a"], "c": ["b"]}
    assert circles(needs) == {"a": ("a", "b"), "b": ("a", "b"), "c": ("a", "b")}


def test_a_long_circle_is_one_value_for_all_its_names_and_is_told_in_short() -> None:
    needs = {f"t-{n}": (f"t-{(n + 1) % 5_000}",) for n in range(5_000)}
    rings = {id(ring) for ring in circles(needs).values()}
    assert len(rings) == 1
    assert spell(circles(needs)["t-7"]) == (
        "t-0 -> t-1 -> t-2 -> t-3 -> t-4 -> t-5 -> (4989 more) -> t-4995 -> t-4996 -> t-4997 -> t-4998 -> t-4999 -> t-0"
    )


def test_ten_thousand_names_in_one_row_are_no_circle_and_no_recursion():
    needs = {f"t-{n}": (f"t-{n + 1}",) for n in range(10_000)}
    assert circles(needs) == {}
