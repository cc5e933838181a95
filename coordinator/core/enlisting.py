"""Who may work and by which token: files of people, and agents that the hub makes on somebody's word.

A person's file wins over what the hub made, a revocation over both. What a token may do, and who may issue one, is not
known here.
"""

from typing import assert_never

from coordinator.core.acting import Step
from coordinator.core.agent import AgentRecord, AgentSpec, Token
from coordinator.core.events import Actor, Credential, Invited, Observed, TokenIssued, TokensRevoked
from coordinator.core.machine import Event
from coordinator.core.task import End, Spec
from coordinator.core.values import evolve

#: So many tokens that the hub issued open the door for one agent at the same time: the new one and the one before.
TOKENS_KEPT = 2
#: So many invites of one agent may be open; of more the oldest ones open nothing any more.
INVITES_KEPT = 8
#: So many revoked tokens of one agent are remembered: more than a file of a person can hold.
REVOKED_KEPT = 10_000


# --- people's files -------------------------------------------------------------------------------------------------


def look(step: Step, seen: Observed) -> None:
    """Bring the agents in line with people's files; those that the hub made stay unless a file takes one over."""
    memory = step.memory
    for agent_id in sorted(seen.agents):
        spec = seen.agents[agent_id]
        known = memory.agents.get(agent_id)
        same = known is not None and known.spec == spec
        memory.put_spec(spec)
        record, made = memory.agents[agent_id].record, agent_id in memory.enlisted
        how = "took it over" if made else "accepted"
        note = f"{spec.where or agent_id} {how}"
        step.record_agent(evolve(record, accepted=spec.blob), seen.by, note, discharged=made)
        if same:
            continue  # also when a crash left it out of the branch that this version was accepted
        if spec.disabled:
            _disable(step, agent_id, seen.by, "disabled")
        elif not memory.agents[agent_id].enabled:
            _take_from(step, agent_id, seen.by, "may not work any more")
    for agent_id in sorted(set(memory.agents) - set(seen.agents) - seen.undecided_agents - memory.enlisted.keys()):
        agent = memory.agents[agent_id]
        if agent.known:
            memory.put_spec(AgentSpec(agent_id, disabled=True))
            step.record_agent(evolve(agent.record, accepted=""), seen.by, f"agents/{agent_id}.yaml removed")
            _disable(step, agent_id, seen.by, "removed")
    for owner in memory.owners():
        if owner not in memory.agents:
            _take_from(step, owner, seen.by, "removed")


def _disable(step: Step, agent_id: str, by: Actor, how: str) -> None:
    _take_from(step, agent_id, by, how)
    step.close(agent_id, "agent_disabled")


def allow(step: Step, agent_id: str, by: Actor, *, enabled: bool) -> None:
    """Let an agent that the hub made work, or not; what a person's file says is changed there."""
    made = step.memory.enlisted.get(agent_id)
    if made is None or made.disabled is not enabled:
        return
    record = step.memory.agents[agent_id].record
    how = "enabled" if enabled else "disabled"
    step.record_agent(record, by, how, enlisted=evolve(made, disabled=not enabled))
    if not enabled:
        _disable(step, agent_id, by, how)


def _take_from(step: Step, owner: str, by: Actor, how: str) -> None:
    for task in step.memory.owned_by(owner):
        reason = f"agent {owner} {how}"
        step.apply(Event.AGENT_DISABLED, task, by, tell=reason, agent=owner, end=End.AGENT_DISABLED, reason=reason)


# --- tokens and invites ---------------------------------------------------------------------------------------------


def hear(step: Step, event: Credential) -> None:
    """Let somebody have a token, an invite, or nothing any more."""
    match event:
        case TokenIssued():
            _issue(step, event)
        case Invited():
            _invite(step, event)
        case TokensRevoked():
            _revoke(step, event)
        case _:
            assert_never(event)


def _issue(step: Step, event: TokenIssued) -> None:
    name, now = event.spec.id, step.now.wall
    agent = step.memory.agents.get(name)
    record = agent.record if agent else AgentRecord(name)
    if event.invite is not None and all(one.sha256 != event.invite for one in _living(record.invites, now)):
        return
    if event.first and agent is not None and ((agent.spec.disabled and agent.known) or agent.open_tokens(now)):
        return
    enlisted = event.spec if agent is None or not agent.known else None
    before = tuple(_ending(token, now + event.grace) for token in _living(record.tokens, now))
    record = evolve(
        record,
        tokens=(*_living(before, now)[1 - TOKENS_KEPT :], event.token),
        invites=tuple(one for one in _living(record.invites, now) if one.sha256 != event.invite),
    )
    step.record_agent(record, event.by, f"got a token ({event.token.prefix})", enlisted=enlisted)
    if event.task is not None and step.memory.agents[name].enabled:
        create(step, evolve(event.task, assignee=name), event.by)


def _invite(step: Step, event: Invited) -> None:
    agent = step.memory.agents.get(event.agent)
    record = agent.record if agent else AgentRecord(event.agent)
    invites = (*_living(record.invites, step.now.wall), event.invite)[-INVITES_KEPT:]
    step.record_agent(evolve(record, invites=invites), event.by, f"invited ({event.invite.prefix})")


def _revoke(step: Step, event: TokensRevoked) -> None:
    agent = step.memory.agents.get(event.agent)
    if agent is None:
        return
    hashes = dict.fromkeys(token.sha256 for token in (*agent.spec.tokens, *agent.record.tokens))
    revoked = (*(known for known in agent.record.revoked if known not in hashes), *hashes)[-REVOKED_KEPT:]
    record = evolve(agent.record, revoked=revoked, tokens=(), invites=())
    if not event.discharge:
        step.record_agent(record, event.by, "tokens revoked")
    elif event.agent in step.memory.enlisted:
        step.memory.put_spec(AgentSpec(event.agent, disabled=True))
        step.record_agent(record, event.by, "discharged", discharged=True)
        _disable(step, event.agent, event.by, "discharged")


def _living(tokens: tuple[Token, ...], now_ms: int) -> tuple[Token, ...]:
    return tuple(token for token in tokens if token.lives(now_ms))


def _ending(token: Token, at: int) -> Token:
    return evolve(token, not_after=at if token.not_after is None else min(token.not_after, at))


def create(step: Step, spec: Spec, by: Actor) -> None:
    """Let a task begin that no file asks for; an id that was used before is none."""
    memory = step.memory
    if spec.id in memory.tasks or spec.id in memory.closed:
        return
    step.create(step.born(spec, by), by)
