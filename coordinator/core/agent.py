"""What an agent is: the file that people wrote, what the hub recorded, and what is known of it while it is connected.

This module decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from coordinator.core.machine import AgentState


class Role(StrEnum):
    """What a token may do; admin never comes from the repository (DESIGN 2)."""

    READER = "reader"
    AGENT = "agent"
    COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Token:
    """The stored half of a token: SHA-256 (hex) of the whole, its first eight characters, and an end (ms)."""

    sha256: str
    prefix: str = ""
    not_after: int | None = None

    def lives(self, now_ms: int) -> bool:
        """Tell whether its end has not come yet."""
        return self.not_after is None or self.not_after > now_ms


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One ``agents/<id>.yaml``, of a person or (in ``agents/api/``) of the hub; ``where`` is empty when there is none.

    Empty ``capabilities`` means: what the agent says of itself counts.
    """

    id: str
    name: str = ""
    capabilities: tuple[str, ...] = ()
    role: Role = Role.AGENT
    kind: str = "agent"
    tokens: tuple[Token, ...] = ()
    disabled: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    blob: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """One ``status/agents/<id>.yaml``: what the hub must remember of an agent; written only on change.

    ``parked_until`` is None while it is not parked; ``PARKED_FOR_GOOD`` means until somebody resumes it. ``tokens`` are
    those that the hub issued, ``revoked`` the stored forms of those that open nothing any more, wherever else they
    stand, ``invites`` those with which somebody may still get a token of this agent, once.
    """

    id: str
    parked_until: int | None = None
    parked_reason: str = ""
    draining: bool = False
    tokens: tuple[Token, ...] = ()
    revoked: tuple[str, ...] = ()
    accepted: str = ""
    invites: tuple[Token, ...] = ()

    @property
    def parked(self) -> bool:
        return self.parked_until is not None


#: A park without an end: only a resume or a passed wake check lifts it. 9999-12-31 in ms.
PARKED_FOR_GOOD = 253402214400000


@dataclass(frozen=True, slots=True)
class Session:
    """One connection of an agent. ``told`` are the (task, generation) pairs sent or confirmed in it."""

    id: str
    capabilities: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()
    holding: frozenset[tuple[str, int]] | None = None
    instance_id: str | None = None
    name: str = ""
    connected_at: int = 0


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of an agent right now; nothing of it is ever stored. Times with ``_mono`` are seconds.

    ``slot`` is the task that keeps it from taking another; ``dying`` are further tasks whose end it must report first
    (it came back with more than one that is not its own any more). ``leaving``: it stops and takes nothing new.
    ``settled`` is false while a returning sidecar may still say what it holds. ``told`` are the (task, generation)
    pairs sent or confirmed in this session, ``resent`` that the task in hand was assigned again in it; ``failures`` the
    tasks that it failed in a row and that nobody else failed. ``wakes`` counts wake checks passed since it last
    completed something. ``changed_at`` (ms) is when ``state`` changed last, None when it never did.
    """

    state: AgentState = AgentState.OFFLINE
    session: Session | None = None
    slot: str | None = None
    dying: frozenset[str] = frozenset()
    leaving: bool = False
    idle_since_mono: float = 0.0
    settled: bool = False
    unresponsive: bool = False
    stuck: bool = False
    resent: bool = False
    busy_count: int = 0
    wakes: int = 0
    busy: bool = False
    failures: tuple[str, ...] = ()
    told: frozenset[tuple[str, int]] = frozenset()
    done_session: int = 0
    tokens_session: int = 0
    changed_at: int | None = None
    progress: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent: file, record and presence together."""

    spec: AgentSpec
    record: AgentRecord
    live: Live = Live()

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def known(self) -> bool:
        """Some file names it; of one whose file is gone, or who is only invited, there is nothing but a record."""
        return bool(self.spec.where or not self.spec.disabled)

    def open_tokens(self, now_ms: int) -> tuple[Token, ...]:
        """Return its tokens that open the door now: those of its file, then those that the hub issued."""
        both = (*self.spec.tokens, *self.record.tokens)
        return tuple(token for token in both if token.lives(now_ms) and token.sha256 not in self.record.revoked)

    @property
    def enabled(self) -> bool:
        """It may own tasks: its file is there and says nothing to the contrary; it is no person and no mere reader."""
        return not self.spec.disabled and self.spec.kind == "agent" and self.spec.role is not Role.READER

    @property
    def capabilities(self) -> frozenset[str]:
        """What counts: what it says of itself, but nothing beyond what its file lists (PROTOCOL 1.1)."""
        listed = frozenset(self.spec.capabilities)
        said = frozenset(self.live.session.capabilities) if self.live.session else frozenset()
        if listed and said:
            return listed & said
        return listed or said

    @property
    def features(self) -> frozenset[str]:
        return self.live.session.features if self.live.session else frozenset()

    def may_have(self, needs: frozenset[str]) -> bool:
        """Tell whether it fits, as far as known: offline and unlisted, it may turn out to have anything."""
        unknown = self.live.session is None and not self.spec.capabilities
        return unknown or needs <= self.capabilities
