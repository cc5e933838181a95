"""Every route of the HTTP API, from one list: what the hub serves is what the tests walk."""

from collections.abc import Callable, Mapping
from typing import Protocol

from flask import Blueprint

from coordinator.core.agent import Agent
from coordinator.core.timers import Now
from coordinator.web import (
    api_agents,
    api_analytics,
    api_channels,
    api_hub,
    api_messages,
    api_schemas,
    api_task_words,
    api_tasks,
    api_tokens,
)
from coordinator.web.app import Bridge
from coordinator.web.postroom import Postroom


class View(api_hub.Whole, api_tasks.Tasks, api_agents.Agents, Protocol):
    """What the routes need of the hub."""


class Register(api_tokens.Registry, api_agents.Wishes, Protocol):
    """What the routes need to change agents and tokens."""


def all_routes(
    view: View,
    registry: Register,
    tasking: api_task_words.Counter,
    postroom: Postroom,
    agents: Mapping[str, Agent],
    now: Callable[[], Now],
    bridge: Bridge,
    version: str,
) -> tuple[Blueprint, ...]:
    """Return all blueprints; everything but ``bridge`` and ``version`` is used on the hub's loop alone."""
    return (
        api_schemas.blueprint(version),
        api_hub.blueprint(view, bridge),
        api_tasks.blueprint(view, bridge),
        api_task_words.blueprint(tasking, bridge),
        api_agents.blueprint(view, registry, agents, bridge),
        api_tokens.blueprint(registry, bridge),
        api_messages.blueprint(postroom, bridge),
        api_channels.blueprint(postroom, bridge),
        api_analytics.blueprint(postroom, agents, now, bridge),
    )
