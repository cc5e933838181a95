"""The longest rising run is one, and there is no longer one."""

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.order import longest_rise


def rises(numbers):
    return all(a < b for a, b in pairwise(numbers))


@given(st.lists(st.integers(0, 9), max_size=8))
def test_it_rises_and_nothing_longer_does(numbers):
    found = longest_rise(numbers)
    assert list(found) == sorted(set(found))
    assert rises([numbers[at] for at in found])
    longer = combinations(numbers, len(found) + 1)
    assert not any(rises(run) for run in longer)
