"""Who speaks: tokens to principals. What a principal may do is declared where it is done.

A token is checked against SHA-256 hashes in constant time; an id that does not exist takes as long as a wrong token.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coordinator.core.agent import Agent, Role, Token

#: What every token starts with.
TOKEN_PREFIX = "ac_"  # noqa: S105 - not a secret
_RANK = (Role.READER, Role.AGENT, Role.COORDINATOR)
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


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


ADMIN = Principal(None)


class Refused(Exception):
    """A token that opens nothing; ``code`` is one of PROTOCOL 1.1."""

    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}")


class Doorkeeper:
    """Checks tokens against the agents that are in force right now."""

    def __init__(self, agents: Mapping[str, Agent], admin_token: str) -> None:
        self._agents = agents
        self._admin = digest(admin_token)

    def identify(self, agent_id: str, token: str | None, now_ms: int) -> Agent:
        """Return the agent that ``token`` belongs to. Raises Refused (PROTOCOL 1.1)."""
        agent = self._agents.get(agent_id)
        if not self.opens(agent_id, digest(token or ""), now_ms) or agent is None or not token:
            owner = self._owner(token or "", now_ms)
            if owner is not None and owner.id != agent_id:
                raise Refused("token_agent_mismatch", f"this token belongs to another agent than {agent_id}")
            raise Refused("invalid_token", f"the token of {agent_id} is not valid; see `agentcom agent add`")
        if agent.spec.disabled:
            raise Refused("agent_disabled", f"{agent_id} is disabled in its agents file")
        return agent

    def opens(self, agent_id: str, presented: str, now_ms: int) -> bool:
        """Tell whether a token, by its stored form, is one of this agent's now."""
        return self._opens(self._agents.get(agent_id), presented, now_ms)

    def bearer(self, header: str | None, now_ms: int) -> Principal | None:
        """Return whose bearer token an ``Authorization`` header carries, None when it opens nothing."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        if hmac.compare_digest(digest(token.strip()), self._admin):
            return ADMIN
        owner = self._owner(token.strip(), now_ms)
        return None if owner is None or owner.spec.disabled else Principal(owner.spec.role, owner.id)

    def _owner(self, token: str, now_ms: int) -> Agent | None:
        presented = digest(token)
        found = [agent for agent in self._agents.values() if self._opens(agent, presented, now_ms)]
        return found[0] if found and token else None

    @staticmethod
    def _opens(agent: Agent | None, presented: str, now_ms: int) -> bool:
        stored: Iterable[Token] = (*agent.spec.tokens, *agent.record.tokens) if agent else (Token(_NOBODY),)
        revoked = agent.record.revoked if agent else ()
        good = False
        for known in stored:
            alive = (known.not_after is None or known.not_after > now_ms) and known.sha256 not in revoked
            good |= hmac.compare_digest(presented, known.sha256.lower()) and alive
        return good and agent is not None


def digest(token: str) -> str:
    """Return the stored form of a token: SHA-256 in hex of the whole."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
