"""Who speaks: tokens and invites to principals. What a principal may do is declared where it is done.

Only SHA-256 hashes are known here, of 256 random bits each. One is looked for by its hash and then compared in constant
time; an id that does not exist takes as long as a wrong token.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from coordinator.core.agent import Agent, Role, Token
from coordinator.core.events import Actor, agent_actor

#: What every token starts with, and what every invite.
TOKEN_PREFIX = "ac_"  # noqa: S105 - not a secret
INVITE_PREFIX = "ai_"
_RANK = (Role.READER, Role.AGENT, Role.COORDINATOR)
_NOBODY = hashlib.sha256(b"nobody").hexdigest()
#: So many hashes are compared for an agent with fewer tokens, also for one that does not exist.
_COMPARED = 4


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who proved who they are; ``agent`` is None for the admin of this machine."""

    role: Role | None
    agent: str | None = None

    @property
    def admin(self) -> bool:
        return self.role is None

    def may(self, role: Role) -> bool:
        """Tell whether this is ``role`` or more (PROTOCOL 2): admin > coordinator > agent > reader."""
        return self.role is None or _RANK.index(self.role) >= _RANK.index(role)

    @property
    def actor(self) -> Actor:
        """Who commits that follow from a request name as their author."""
        return Actor("person", "admin", "admin@agentcom.invalid") if self.agent is None else agent_actor(self.agent)


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who showed an invite of ``agent``, by its stored form; nobody yet, and good for one thing only."""

    agent: str
    invite: str

    @property
    def actor(self) -> Actor:
        """Who commits that follow from a request name as their author."""
        return agent_actor(self.agent)


ADMIN = Principal(None)


class Refused(Exception):
    """A token that opens nothing; ``code`` is one of PROTOCOL 1.1."""

    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}")


class Doorkeeper:
    """Checks tokens against the agents that are in force right now.

    ``changes`` rises whenever some agent's tokens or invites are others; without it they are looked through each time.
    """

    def __init__(self, agents: Mapping[str, Agent], admin_token: str, changes: Callable[[], int] = lambda: -1) -> None:
        self._agents = agents
        self._admin = digest(admin_token)
        self._changes = changes
        self._read_at = -1
        self._holders: dict[str, tuple[str, ...]] = {}
        self._invited: dict[str, str] = {}

    def identify(self, agent_id: str, token: str | None, now_ms: int) -> Agent:
        """Return the agent that ``token`` belongs to. Raises Refused (PROTOCOL 1.1)."""
        agent = self._agents.get(agent_id)
        presented = digest(token or "")
        opened, owner = self.opens(agent_id, presented, now_ms), self._owner(presented, now_ms)
        if not opened or agent is None or not token:
            if token and owner is not None and owner.id != agent_id:
                raise Refused("token_agent_mismatch", f"this token belongs to another agent than {agent_id}")
            raise Refused("invalid_token", f"the token of {agent_id} is not valid; see `agentcom agent add`")
        if agent.spec.disabled:
            raise Refused("agent_disabled", f"{agent_id} is disabled in its agents file")
        return agent

    def opens(self, agent_id: str, presented: str, now_ms: int) -> bool:
        """Tell whether a token, by its stored form, is one of this agent's now."""
        return self._opens(self._agents.get(agent_id), presented, now_ms)

    def bearer(self, header: str | None, now_ms: int) -> Principal | Guest | None:
        """Return who carries the token or invite of an ``Authorization`` header, None when it opens nothing."""
        token = bearer_token(header)
        if token is None:
            return None
        presented = digest(token)
        admin = hmac.compare_digest(presented, self._admin)
        owner = self._owner(presented, now_ms)
        if admin:
            return ADMIN
        if owner is not None:
            return None if owner.spec.disabled else Principal(owner.spec.role, owner.id)
        return self._guest(presented, now_ms)

    def _owner(self, presented: str, now_ms: int) -> Agent | None:
        self._read()
        names = self._holders.get(presented, ("",))
        found = [agent for agent in map(self._agents.get, names) if self._opens(agent, presented, now_ms)]
        return found[0] if found else None

    def _guest(self, presented: str, now_ms: int) -> Guest | None:
        agent = self._agents.get(self._invited.get(presented, ""))
        invites = agent.record.invites if agent is not None else ()
        found = _among(presented, (invite for invite in invites if invite.lives(now_ms)))
        return Guest(agent.id, presented) if found and agent is not None else None

    def _read(self) -> None:
        """Bring what is looked for by hash in step with the agents."""
        now = self._changes()
        if now == self._read_at and now >= 0:
            return
        self._read_at = now
        holders: dict[str, tuple[str, ...]] = {}
        for agent in self._agents.values():
            for token in (*agent.spec.tokens, *agent.record.tokens):
                key = token.sha256.lower()
                holders[key] = (*holders.get(key, ()), agent.id)
        self._holders = holders
        self._invited = {one.sha256: agent.id for agent in self._agents.values() for one in agent.record.invites}

    @staticmethod
    def _opens(agent: Agent | None, presented: str, now_ms: int) -> bool:
        return _among(presented, () if agent is None else agent.open_tokens(now_ms))


def _among(presented: str, stored: Iterable[Token]) -> bool:
    """Tell whether a hash is one of some tokens', taking as long when it is none and when there are none."""
    hashes = [token.sha256.lower() for token in stored]
    good = False
    for known in hashes:
        good |= hmac.compare_digest(presented, known)
    for _ in range(_COMPARED - len(hashes)):
        hmac.compare_digest(presented, _NOBODY)
    return good


def bearer_token(header: str | None) -> str | None:
    """Return the token of an ``Authorization`` header, None when it carries none."""
    scheme, _, token = (header or "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def digest(token: str) -> str:
    """Return the stored form of a token: SHA-256 in hex of the whole."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
