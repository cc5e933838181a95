"""Frozen values and how another one is made from them; which value means what is not known here."""

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

V = TypeVar("V")

#: Of each dataclass: where each field stands, and what reads them all at once.
_PLANS: dict[type[Any], tuple[dict[str, int], Callable[[Any], tuple[Any, ...]]]] = {}


def evolve(value: V, **changes: Any) -> V:
    """Return a value of the same dataclass with some fields changed, as ``dataclasses.replace`` does in twice the time.

    For values of two fields or more, all of them arguments of ``__init__`` in this order; TypeError for another field.
    """
    kind: type[Any] = type(value)
    plan = _PLANS.get(kind)
    if plan is None:
        names = [field.name for field in fields(kind)]
        plan = _PLANS[kind] = {name: place for place, name in enumerate(names)}, attrgetter(*names)
    places, read = plan
    values = list(read(value))
    for name, changed in changes.items():
        place = places.get(name)
        if place is None:
            raise TypeError(f"{kind.__name__} has no field {name}")
        values[place] = changed
    made: V = kind(*values)
    return made
