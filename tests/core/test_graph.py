"""Circles of dependencies: every name on one is found, with a shortest circle; nobody else."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.graph import circles

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
        assert ring[0] == name
        assert all(after in needs[before] for before, after in pairwise((*ring, name)))
        assert len(set(ring)) == len(ring)


def test_a_circle_behind_a_name_that_was_looked_at_before_is_found_too():
    needs = {"a": ["b", "c"], "b": ["a"], "c": ["b"]}
    assert circles(needs) == {"a": ("a", "b"), "b": ("b", "a"), "c": ("c", "b", "a")}


def test_ten_thousand_names_in_one_row_are_no_circle_and_no_recursion():
    needs = {f"t-{n}": (f"t-{n + 1}",) for n in range(10_000)}
    assert circles(needs) == {}
