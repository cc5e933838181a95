"""How much is said, and by whom: the numbers of /api/analytics (PROTOCOL 2.1). Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coordinator.core.agent import Agent
from coordinator.web.mail.letters import Volume
from coordinator.web.presence import Traces

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS
#: A connected agent that did nothing for so long is idle, unless it has a task in hand.
ACTIVE_MS = 5 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """One agent as it is now."""

    agent: Agent
    traces: Traces
    connected: bool

    def idle_ms(self, now_ms: int) -> int | None:
        """Return how long it did nothing, None when it never did anything since the hub started."""
        last = self.traces.last_active
        return None if last is None else max(0, now_ms - last)

    def standing(self, now_ms: int) -> str:
        """Return ``active``, ``idle`` or ``offline``."""
        if not self.connected:
            return "offline"
        idle = self.idle_ms(now_ms)
        return "active" if self.agent.live.slot is not None or (idle or 0) < ACTIVE_MS else "idle"


def summary(everybody: Iterable[Seen], volumes: Iterable[Volume], now_ms: int) -> dict[str, Any]:
    """Return the numbers of all agents together; ``volumes`` are those of the last 24 hours."""
    count = Counter(seen.standing(now_ms) for seen in everybody)
    return {
        "total_agents": count.total(),
        "agents_connected": count["active"] + count["idle"],
        "agents_active": count["active"],
        "agents_idle": count["idle"],
        "agents_offline": count["offline"],
        "total_messages_24h": sum(volume.sent for volume in volumes),
        "timestamp": now_ms,
    }


def by_agent(everybody: Iterable[Seen], volumes: Iterable[Volume], now_ms: int) -> list[dict[str, Any]]:
    """Return the numbers of each agent; ``volumes`` are those of the last 24 hours."""
    sent: Counter[str] = Counter()
    received: Counter[str] = Counter()
    for volume in volumes:
        sent[volume.agent] += volume.sent
        received[volume.agent] += volume.received
    return [
        {
            "agent_id": seen.agent.id,
            "connected": seen.connected,
            "idle_ms": seen.idle_ms(now_ms),
            "status": seen.standing(now_ms),
            "messages_sent_24h": sent[seen.agent.id],
            "messages_received_24h": received[seen.agent.id],
            "last_active": seen.traces.last_active,
            "total_connections": seen.traces.connections,
        }
        for seen in everybody
    ]


def hourly(agent_id: str, volumes: Iterable[Volume], now_ms: int) -> list[dict[str, Any]]:
    """Return what an agent sent and got in each of 24 hours of the clock (UTC), the present one last."""
    first = first_hour(now_ms)
    hours: Mapping[int, list[int]] = {first + n * HOUR_MS: [0, 0] for n in range(24)}
    for volume in volumes:
        hour = hours.get(volume.minute // HOUR_MS * HOUR_MS)
        if volume.agent == agent_id and hour is not None:
            hour[0] += volume.sent
            hour[1] += volume.received
    return [{"hour": _clock(hour), "sent": sent, "received": got} for hour, (sent, got) in sorted(hours.items())]


def first_hour(now_ms: int) -> int:
    """Return when the first of those 24 hours began."""
    return now_ms // HOUR_MS * HOUR_MS - 23 * HOUR_MS


def _clock(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M")
