"""How many inputs each fuzz test gets, and how much computing one of them may cost.

2,000 inputs in all, always the same ones, so that a check says today what it said yesterday; AGENTCOM_FUZZ asks for
another number, and then for new ones in every run. What a run finds goes into the test as an ``@example``.
"""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, Phase, settings

#: Inputs of the quick target.
QUICK = 2_000
TOTAL = int(os.environ.get("AGENTCOM_FUZZ", QUICK))
#: How many of a hundred inputs go to which test.
SHARES = {
    "task files": 12,
    "agent files": 7,
    "policy files": 7,
    "task keys": 6,
    "any keys": 4,
    "backlogs": 15,
    "long backlogs": 1,
    "quotes": 2,
    "line ends": 4,
    "marks": 5,
    "anchors": 3,
    "added lines": 7,
    "looks": 4,
    "second looks": 3,
    "clones": 2,
    "moves and rewordings": 4,
    "replaced lines": 4,
    "reorderings": 4,
    "trees": 4,
    "hostile files": 2,
}
assert sum(SHARES.values()) == 100
#: Seconds of computing, not of waiting, that one input may cost.
CPU_S = 2.0


class Hangs(AssertionError):
    """One input cost more computing than any may."""


def fuzz(name: str) -> Callable[[Any], Any]:
    """Return the settings of one fuzz test."""
    more: dict[str, Any] = {"derandomize": True} if TOTAL == QUICK else {"print_blob": True}
    return settings(
        max_examples=max(1, TOTAL * SHARES[name] // 100),
        deadline=None,
        database=None,
        phases=[phase for phase in Phase if phase is not Phase.explain],  # it traces every line, ten times as slow
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
        **more,
    )


@contextmanager
def no_hang(seconds: float = CPU_S) -> Iterator[None]:
    """Raise Hangs where the work inside is, once this process has computed so long.

    What Hypothesis remembers of earlier inputs is not counted: nothing is collected meanwhile.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Hangs(f"more than {seconds} s of computing")

    gc.disable()
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        gc.enable()
