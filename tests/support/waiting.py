"""How tests wait for what a real process brings about and nobody can be told of: look again, until a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: The longest wait for something that must happen soon, in seconds; generous, for loaded machines.
SOON = 60.0
#: The pause between two looks, in seconds.
LOOK_EVERY = 0.05


def until(
    look: Callable[[], T], *, within: float = SOON, say: Callable[[], object] = lambda: "it never came to that"
) -> T:
    """Return what ``look`` gives, as soon as that counts as true; after ``within`` seconds fail with ``say()``."""
    end = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < end, say()
        time.sleep(LOOK_EVERY)
    return seen
