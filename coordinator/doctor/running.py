"""What runs: the hub as it answers, its service, its clock, and the agents that it knows. Nothing is written here."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coordinator import __version__
from coordinator.core.machine import AgentState
from coordinator.doctor.findings import Cure, Finding, bad, ok, warn
from coordinator.files.problem import Problem
from coordinator.git.run import git
from coordinator.ground import Ground
from coordinator.place import process_lives
from coordinator.reading import HubClient, HubUnreachable, NoAddress, TokenRefused, ago, hub_named, running_hub
from coordinator.services import machine
from coordinator.services.values import Plan

#: Clocks may differ by so much before it is said, and before it matters to deadlines and tokens, in seconds.
CLOCK_SAID = 5.0
CLOCK_BAD = 300.0
#: What is not pushed for so long lags, in seconds.
LAG = 600.0
#: An agent of whom the trail says nothing for so many days is stale.
STALE_DAYS = 30
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Heard:
    """What the hub said of itself (``GET /api/status``), None when none did; ``off`` is its clock less ours, in s."""

    findings: tuple[Finding, ...]
    summary: Mapping[str, Any] | None = None
    off: float = 0.0


def listen(ground: Ground, named: str | None) -> Heard:
    """Ask the hub that ``named``, AGENTCOM_HUB or this clone names how it is."""
    try:
        client = running_hub(ground, named)
        before = time.time()
        summary = client.get("/api/status")
        after = time.time()
    except NoAddress as error:
        return Heard((bad("hub", str(error), "correct --hub or AGENTCOM_HUB"),))
    except TokenRefused as error:
        return Heard((bad("hub", str(error), "be who runs the hub, or set AGENTCOM_TOKEN"),))
    except HubUnreachable as error:
        if hub_named(named):
            return Heard((bad("hub", str(error), "start it, or leave --hub and AGENTCOM_HUB away"),))
        return Heard((_silent(ground, str(error)),))
    local = ground.place.read_hub()
    if "hub_id" not in summary or (local and client.url == local.get("url") and summary["hub_id"] != local["hub_id"]):
        return Heard((_silent(ground, f"what answers at {client.url} is another program or hub"),))
    off = _instant(str(summary["as_of"])) - (before + after) / 2
    return Heard((*_said(client, summary), *_clock(off, after - before)), summary, off)


def _silent(ground: Ground, said: str) -> Finding:
    """Return what it means that no hub answers: it was never started, has died, or hangs."""
    local = ground.place.read_hub()
    if local is None:
        if ground.elsewhere is not None:
            return ok("hub", f"runs elsewhere; this clone knows it by {ground.elsewhere}")
        return warn("hub", said, "start it: `agentcom hub`, or for good: `agentcom hub install`")
    if process_lives(local):
        return bad("hub", f"{said}, but its process {local.get('pid')} lives", "look at its log; if it hangs, stop it")
    text = f"{said}; the last one ({local.get('pid')}) died without a goodbye"
    return warn("hub", text, "start it: `agentcom hub`; nothing that was acknowledged is lost", Cure.FORGET_DEAD_HUB)


def _said(client: HubClient, summary: Mapping[str, Any]) -> Iterator[Finding]:
    since = f"since {summary['started_at']}, epoch {summary['epoch']}"
    yield ok("hub", f"{client.url} answers, version {summary['version']}, {since}")
    if summary["version"] != __version__:
        text = f"the hub is {summary['version']}, this command {__version__}"
        yield warn("hub", text, "start the hub anew, so that both are the same")
    if summary.get("read_only"):
        yield bad("hub", f"it is READ-ONLY: {summary['read_only']}", "nothing is lost: remove the cause, it goes on")
    problems = [Problem(**problem) for problem in summary.get("problems", ())]
    for problem in problems[:SHOWN]:
        check = "housekeeping" if problem.path == "housekeeping" else "problems"
        yield warn(check, str(problem), "mend it; `agentcom status` names all")
    if len(problems) > SHOWN:
        yield warn("problems", f"and {len(problems) - SHOWN} more", "`agentcom status` names all")
    remote: Mapping[str, Any] = summary.get("remote") or {}
    since_unpushed = remote.get("unpushed_since")
    if since_unpushed and time.time() - _instant(str(since_unpushed)) > LAG:
        why = remote.get("notice") or "the remote does not take them"
        text = f"{remote['unpushed']} commits of the trail are not pushed since {since_unpushed}: {why}"
        yield warn("remote", text, "see what the remote answers: `agentcom status`")


def _clock(off: float, took: float) -> Iterator[Finding]:
    sure = max(0.0, abs(off) - took)
    text = f"the hub's is {abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} this one's"
    if sure > CLOCK_BAD:
        yield bad("clock", text, "set both by NTP: deadlines and ends of tokens come at the wrong time")
    elif sure > CLOCK_SAID:
        yield warn("clock", text, "set both by NTP")
    else:
        yield ok("clock", "the same as the hub's")


def services(ground: Ground) -> Iterator[Finding]:
    """Say whether this clone's hub is installed as a service, and whether that runs."""
    plans = installed(ground)
    for plan in plans:
        name = plan.service.name
        if machine.runs(plan):
            yield ok("service", f"{name} runs ({plan.manager})")
        else:
            advice = f"`{' '.join(plan.log)}` says why; then `{' '.join(plan.start[-1])}`"
            yield bad("service", f"{name} is installed ({plan.manager}) and does not run", advice)
    if not plans:
        yield ok("service", "the hub of this clone is not installed as one")


def installed(ground: Ground) -> list[Plan]:
    """Return the services of this clone's hub, whatever they are called."""
    return machine.services_of(ground.repo.common_dir.resolve())


def agents(ground: Ground, known: tuple[Mapping[str, Any], ...]) -> Iterator[Finding]:
    """Say who cannot work, and who has not been heard of for long; ``known`` are agents as ``/api/status`` has them."""
    for agent in known:
        wrong = [flag for flag in agent["flags"] if flag in ("unresponsive", "stuck", "parked")]
        if wrong:
            why = f" ({agent['parked_reason']})" if agent["parked_reason"] else ""
            advice = "mend it, then start its sidecar again"
            yield warn("agents", f"{agent['agent_id']} is {', '.join(wrong)}{why}", advice)
    gone = [agent for agent in known if agent["fsm_state"] == AgentState.OFFLINE]
    away = [agent["agent_id"] for agent in gone if "disabled" not in agent["flags"]]
    stale = _stale(ground, away)
    for agent_id, since in list(stale.items())[:SHOWN]:
        text = f"{agent_id} is offline, and nothing was heard of it {since}"
        file = ground.path(f"agents/{agent_id}.yaml")
        yield warn("agents", text, f"start its sidecar; if it is gone: `git rm {file}` and commit")
    if len(stale) > SHOWN:
        yield warn("agents", f"and {len(stale) - SHOWN} more that are stale", "`agentcom agent list` names all")
    yield ok("agents", f"{len(known) - len(gone)} of {len(known)} connected")


def _stale(ground: Ground, away: list[str]) -> dict[str, str]:
    """Return those who are away, were added long ago, and did nothing since: id -> since when."""
    if not away:
        return {}
    limit = time.time() - STALE_DAYS * 86_400
    trailer = "%(trailers:key=Agentcom-Agent,valueonly,separator=%x20)"
    how = ("log", "--first-parent", f"--since={int(limit)}", f"--format={trailer}")
    said = git(*how, ground.state_ref, git_dir=ground.repo.common_dir, check=False).decode("utf-8", "replace")
    active = set(said.split())
    found: dict[str, str] = {}
    for agent_id in away:
        if agent_id in active:
            continue
        path = ground.path(f"agents/{agent_id}.yaml")
        newest = ("log", "-1", "--format=%ct", ground.watched_ref, "--", path)
        changed = git(*newest, git_dir=ground.repo.common_dir, check=False).decode().strip()
        if changed and int(changed) < limit:
            found[agent_id] = f"for {STALE_DAYS} days; its file is from {ago(int((time.time() - int(changed)) * 1000))}"
    return found


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
