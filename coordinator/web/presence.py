"""Who is connected: what agents say of themselves, and what is pushed to them beyond their tasks (PROTOCOL 1.5).

It decides which session hears of what. A sidecar that only does tasks hears of nothing here unless it asked for a
channel. Comings and goings are told as far as there is room: with n agents in a storm of connects they would be n x n
frames, and ``list_agents`` says all of it again. What agents do with their tasks is not known here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from coordinator.core.agent import Agent, Session
from coordinator.core.machine import AgentState
from coordinator.core.timers import Now
from coordinator.web import present
from coordinator.wire import frames

#: The client that hears of its tasks alone (PROTOCOL 1.5).
SIDECAR = "sidecar"
ONLINE = "online"
#: So many frames about comings and goings are sent in a second, over all sessions; one event always reaches some.
TOLD_PER_SECOND = 5_000
#: What an agent says of itself reaches everybody: so many capabilities of it, and no word longer than a frame's.
CAPABILITIES_SHOWN = 100
_SHOWN = ("agent_id", "name", "status", "capabilities", "connected_at", "fsm_state")


class Line(Protocol):
    """One open socket."""

    @property
    def crowded(self) -> bool:
        """Whether so much waits to be sent that what can be left out should be."""
        ...

    def put(self, text: str) -> None: ...


@dataclass(slots=True)
class Here:
    """One connected agent. ``wants``: it hears of everything; ``listens``: it asked for a channel in this session."""

    agent: str
    session: Session
    line: Line
    status: str
    wants: bool
    listens: bool = False
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Traces:
    """What is known of one agent's coming and going since the hub started; ``last_active`` in ms."""

    connections: int = 0
    last_active: int | None = None


class Presence:
    """Everybody who is connected, by id. All calls on the hub's loop."""

    def __init__(self, agents: Mapping[str, Agent], now: Callable[[], Now]) -> None:
        self._agents = agents
        self._now = now
        self._here: dict[str, Here] = {}
        self._traces: dict[str, Traces] = {}
        self._room = float(TOLD_PER_SECOND)
        self._filled_at = 0.0

    # --- coming and going

    def joined(self, agent_id: str, session: Session, frame: frames.Identify, line: Line) -> None:
        """Note that an agent is there, and tell the others."""
        status = (frame.status or ONLINE)[: frames.WORD_CHARS]
        here = Here(agent_id, session, line, status, frame.client_type != SIDECAR)
        self._here[agent_id] = here
        traces = self.traces(agent_id)
        self._traces[agent_id] = Traces(traces.connections + 1, self._now().wall)
        self._tell_others(agent_id, frames.AgentJoined(agent=self._shown(here)))

    def left(self, agent_id: str, session_id: str) -> None:
        """Note that an agent is gone, and tell the others."""
        here = self._here.get(agent_id)
        if here is not None and here.session.id == session_id:
            del self._here[agent_id]
            self.active(agent_id)
            self._tell_others(agent_id, frames.AgentLeft(agent_id=agent_id))

    def speaks(self, here: Here, status: str) -> None:
        """Note what an agent says of itself, and tell the others."""
        here.status = status
        self._tell_others(here.agent, frames.StatusChanged(agent=self._shown(here)))

    def active(self, agent_id: str) -> None:
        """Note that an agent did something just now."""
        self._traces[agent_id] = replace(self.traces(agent_id), last_active=self._now().wall)

    # --- looking

    def get(self, agent_id: str) -> Here | None:
        """Return a connected agent, None when it is not connected."""
        return self._here.get(agent_id)

    def traces(self, agent_id: str) -> Traces:
        """Return what is known of an agent's coming and going."""
        return self._traces.get(agent_id, Traces())

    def says_of(self, agent_id: str) -> dict[str, str]:
        """Return the status of a connected agent in its own words, nothing for any other."""
        here = self._here.get(agent_id)
        return {} if here is None else {"status": here.status}

    def shown(self) -> list[dict[str, Any]]:
        """Return everybody who is connected, by id, as PROTOCOL 1.5 shapes an agent."""
        return [self._shown(self._here[agent_id]) for agent_id in sorted(self._here)]

    def _shown(self, here: Here) -> dict[str, Any]:
        agent = self._agents[here.agent]
        seen = present.agent_json(replace(agent, live=replace(agent.live, session=here.session)))
        if seen["fsm_state"] == AgentState.OFFLINE:  # the core hears of it in its turn
            seen["fsm_state"] = str(AgentState.IDLE)
        shown = {key: seen[key] for key in _SHOWN} | {"status": here.status}
        shown["name"] = shown["name"][: frames.WORD_CHARS]
        shown["capabilities"] = [word[: frames.WORD_CHARS] for word in shown["capabilities"][:CAPABILITIES_SHOWN]]
        return shown

    # --- pushing

    def push(self, readers: Iterable[str], frame: frames.Frame, *, post: bool = False) -> None:
        """Push what was kept for them to those ``readers`` who want it; a ``post`` also to those who asked for it."""
        text = frame.encode()
        for reader in readers:
            here = self._here.get(reader)
            if here is not None and (here.wants or (post and here.listens)):
                here.line.put(text)

    def _tell_others(self, agent_id: str, frame: frames.Frame) -> None:
        now = self._now().mono
        self._room = min(TOLD_PER_SECOND, self._room + (now - self._filled_at) * TOLD_PER_SECOND)
        self._filled_at = now
        text = frame.encode()
        for here in self._here.values():
            if self._room < 1:
                return
            if here.wants and here.agent != agent_id and not here.line.crowded:
                here.line.put(text)
                self._room -= 1
