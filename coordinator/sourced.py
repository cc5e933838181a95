"""A setting that knows where it came from.

Whoever decides which of several places counts says so in the same breath; whoever shows a setting does not have to work
it out anew. This module knows no place and no setting.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

#: Nobody said anything.
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T]):
    """A value, and where it was said: ``FILE:LINE:COL``, an option, a variable, or ``default``."""

    value: T
    origin: str = DEFAULT


def first(default: T, *offers: tuple[T | None, str], otherwise: str = DEFAULT) -> Sourced[T]:
    """Return the first offer (value, origin) that is not None, else the default, which ``otherwise`` is about."""
    for value, origin in offers:
        if value is not None:
            return Sourced(value, origin)
    return Sourced(default, otherwise)


def variable(name: str) -> str:
    """Return how the origin is called of what a variable says."""
    return f"{name} in the environment"
