"""Tokens, invites and API-made agents, from what people ask to what is durable.

It makes what must be random, checks what would be written with the reader that reads it back, puts it to the core, and
looks what came of it: of two who ask at once for what only one may have, the core lets one have it. Who may ask is
decided at the door. A token is in memory for as long as its answer may be asked for again, and nowhere else.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from coordinator.core.agent import Agent, AgentSpec, Role, Token
from coordinator.core.events import Actor, AgentAsked, Invited, TokenIssued, TokensRevoked
from coordinator.core.task import Origin, Spec, is_id
from coordinator.core.values import evolve
from coordinator.desk import random_id
from coordinator.files import emitter, layout, loader
from coordinator.files.convert import parse_duration, parse_time
from coordinator.hub import Hub
from coordinator.place import new_token
from coordinator.web.api_agents import Wish
from coordinator.web.auth import INVITE_PREFIX, digest
from coordinator.web.mail.letters import Declined
from coordinator.wire.bodies import AgentBody

#: So many characters of a token are shown to tell it from others.
PREFIX_CHARS = 8
DAY_MS = 24 * 3600 * 1000
#: How long a token goes on after the next one was issued, and an invite is good, unless somebody says otherwise; in ms.
GRACE_MS = DAY_MS
INVITED_MS = DAY_MS
#: The longest of both, in ms.
LONGEST_MS = 30 * DAY_MS
#: Numbers below this are no times since the epoch but spans from now, in ms.
SPAN_MS = 366 * DAY_MS
#: Answers that may be asked for again by their Idempotency-Key, and for how long, in seconds.
ANSWERS_KEPT = 100
ANSWERS_KEPT_FOR = 600.0
_HELLO = """This task came with your registration, to see that you get work and that your results arrive.

There is nothing to change. Report success, with one line about who you are and what you can do.
"""


class Registry:
    """The agents of one hub as the API changes them; ``branch`` is no id. All calls on the hub's loop."""

    def __init__(self, hub: Hub, branch: str) -> None:
        self._hub = hub
        self._branch = branch
        self._answered: OrderedDict[tuple[str, ...], asyncio.Task[dict[str, Any]]] = OrderedDict()

    # --- tokens

    def tokens(self) -> list[dict[str, Any]]:
        """Return the tokens that open the door now, by agent."""
        now, agents = self._hub.now().wall, self._hub.core.memory.agents
        return [
            {
                "agent_id": name,
                "token_prefix": token.prefix,
                "where": agents[name].spec.where if token in agents[name].spec.tokens else layout.record_path(name),
                "not_after": token.not_after,
            }
            for name in sorted(agents)
            for token in agents[name].open_tokens(now)
        ]

    async def issue(
        self, said: AgentBody, by: Actor, key: str | None, *, role: str | None, grace: str | int | None
    ) -> dict[str, Any]:
        """Issue a token; the one that the hub issued before goes on for ``grace``. Raises Declined."""
        span = _span(grace, "grace", GRACE_MS)
        spec = self._made(said, Role(role or Role.AGENT))
        known = self._known(said.agent_id)
        if known is not None and role is not None and known.spec.role != role:
            hint = f"{known.spec.where} says role: {known.spec.role}; change it there"
            raise Declined("written_in_a_file" if known.spec.blob else "agent_exists", hint)
        return await self._once(
            (str(by.name), "issue", said.agent_id), key, lambda: self._issue(TokenIssued(spec, _nothing, by, span))
        )

    async def register(self, said: AgentBody, by: Actor, key: str | None, *, invite: str | None) -> dict[str, Any]:
        """Issue a first token, with a first task; ``invite`` is used up. Raises Declined."""
        event = TokenIssued(
            self._made(said, Role.AGENT), _nothing, by, invite=invite, first=True, task=self._hello(said.agent_id)
        )
        return await self._once((str(by.name), invite or "", said.agent_id), key, lambda: self._register(event))

    async def invite(self, agent_id: str, by: Actor, key: str | None, *, expires: str | int | None) -> dict[str, Any]:
        """Return an invite, good once and until ``expires``. Raises Declined."""
        self._check_id(agent_id)
        until = _moment(expires, self._hub.now().wall)
        return await self._once((str(by.name), "invite", agent_id), key, lambda: self._invite(agent_id, until, by))

    async def revoke(self, agent_id: str, by: Actor) -> None:
        """Let all tokens and invites of an agent open nothing any more. Raises Declined."""
        if agent_id not in self._hub.core.memory.agents:
            raise Declined("agent_not_found", f"there is no agent {agent_id}")
        await self._hub.settle(TokensRevoked(agent_id, by))

    # --- agents

    async def ask(self, agent_id: str, what: Wish, by: Actor) -> None:
        """Resume, drain, undrain, disable or enable an agent. Raises Declined."""
        known = self._known(agent_id)
        if known is None:
            raise Declined("agent_not_found", f"there is no agent {agent_id}")
        if what in ("disable", "enable") and agent_id not in self._hub.core.memory.enlisted:
            raise Declined("written_in_a_file", f"{known.spec.where} says it: change `disabled` there and commit that")
        await self._hub.settle(AgentAsked(what, agent_id, by))

    async def discharge(self, agent_id: str, by: Actor) -> None:
        """End an agent that was made here. Raises Declined."""
        known = self._known(agent_id)
        if known is None:
            raise Declined("agent_not_found", f"there is no agent {agent_id}")
        if agent_id not in self._hub.core.memory.enlisted:
            raise Declined("written_in_a_file", f"delete {known.spec.where} and commit that")
        await self._hub.settle(TokensRevoked(agent_id, by, discharge=True))

    # --- parts

    def _known(self, agent_id: str) -> Agent | None:
        agent = self._hub.core.memory.agents.get(agent_id)
        return agent if agent is not None and agent.known else None

    def _check_id(self, agent_id: str) -> None:
        if not is_id(agent_id, self._branch):
            detail = "use lower-case letters, digits and -, at most 64, no - in front, and no reserved word"
            raise Declined("validation_failed", detail, "agent_id")

    def _made(self, said: AgentBody, role: Role) -> AgentSpec:
        """Return an agent as the hub would make it. Raises Declined for what its reader would refuse."""
        self._check_id(said.agent_id)
        path = layout.enlisted_path(said.agent_id)
        spec = AgentSpec(said.agent_id, said.name or said.agent_id, said.capabilities or (), role, where=path)
        read = loader.load_agent(path, emitter.emit_agent(spec), "", reserved=(self._branch,))
        if isinstance(read, tuple):
            raise Declined("validation_failed", f"{read[0].what}; {read[0].hint}", read[0].field or "name")
        return read

    def _hello(self, agent_id: str) -> Spec:
        memory = self._hub.core.memory
        name = next(made for made in iter(random_id, "") if made not in memory.tasks and made not in memory.closed)
        path = f"{layout.SPEC_FOLDERS[Origin.API]}/{name}.yaml"
        spec = Spec(
            name,
            f"Say hello as {agent_id}",
            _HELLO,
            assignee=agent_id,
            review=False,
            kind="note",
            labels=("onboarding",),
            origin=Origin.API,
            where=path,
        )
        return evolve(spec, blob=emitter.blob_id(emitter.emit_spec(spec), emitter.algorithm_of(self._hub.tip or "")))

    async def _issue(self, event: TokenIssued) -> dict[str, Any]:
        name, token = event.spec.id, new_token()
        stored = Token(digest(token), token[:PREFIX_CHARS])
        await self._hub.settle(evolve(event, token=stored))
        agent = self._hub.core.memory.agents.get(name)
        if agent is None or all(one.sha256 != stored.sha256 for one in agent.record.tokens):
            if event.first:
                raise Declined("agent_exists", f"{name} is taken; an admin can revoke its tokens first")
            raise Declined("superseded", "another token was issued or all were revoked at the same time; ask again")
        return {"agent_id": name, "token": token, "where": agent.spec.where}

    async def _register(self, event: TokenIssued) -> dict[str, Any]:
        issued, policy = await self._issue(event), self._hub.core.memory.policy
        task = event.task.id if event.task is not None and event.task.id in self._hub.core.memory.tasks else None
        repo = policy.repo_of(None, None)
        target = policy.repos.get(repo or "")
        return {
            **issued,
            "default_repo": repo,
            "url": None if target is None else target.url,
            "task_id": task,
        }

    async def _invite(self, agent_id: str, until: int, by: Actor) -> dict[str, Any]:
        invite = new_token(INVITE_PREFIX)
        await self._hub.settle(Invited(agent_id, Token(digest(invite), invite[:PREFIX_CHARS], until), by))
        return {"agent_id": agent_id, "invite": invite, "expires": until}

    async def _once(
        self, what: tuple[str, ...], key: str | None, make: Callable[[], Coroutine[Any, Any, dict[str, Any]]]
    ) -> dict[str, Any]:
        """Return what ``make`` gives; with a key the same answer again, also while the first one is still awaited."""
        if key is None:
            return await make()
        name = (*what, key)
        task = self._answered.get(name)
        if task is None:
            task = self._answered[name] = asyncio.create_task(make(), name="registry")
            task.add_done_callback(lambda done: self._keep(name, done))
            if len(self._answered) > ANSWERS_KEPT:
                self._answered.popitem(last=False)
        return await asyncio.shield(task)

    def _keep(self, name: tuple[str, ...], done: asyncio.Task[dict[str, Any]]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._answered.pop(name, None)
        else:
            asyncio.get_running_loop().call_later(ANSWERS_KEPT_FOR, self._answered.pop, name, None)


#: Stands in an event until it is put to the core.
_nothing = Token("")


def _span(said: str | int | None, field: str, usual: int) -> int:
    """Return a span in ms: ``24h``, or a number of ms. Raises Declined."""
    if said is None:
        return usual
    try:
        span = said if isinstance(said, int) else round(1000 * parse_duration(said))
    except ValueError:
        span = -1
    if not 0 <= span <= LONGEST_MS:
        raise Declined("validation_failed", "write a number and s, m, h or d, at most 30d, or milliseconds", field)
    return span


def _moment(said: str | int | None, now_ms: int) -> int:
    """Return a time in ms: ``1h``, an RFC 3339 time, ms since the epoch or ms from now. Raises Declined."""
    if said is None:
        return now_ms + INVITED_MS
    try:
        if isinstance(said, int):
            at = now_ms + said if said < SPAN_MS else said
        else:
            at = parse_time(said) if said[:5].count("-") else now_ms + round(1000 * parse_duration(said))
    except ValueError:
        at = 0
    if not now_ms < at <= now_ms + LONGEST_MS:
        detail = "write 1h, a time such as 2026-12-01T12:00:00Z or milliseconds; it must come, and within 30 days"
        raise Declined("validation_failed", detail, "expires")
    return at
