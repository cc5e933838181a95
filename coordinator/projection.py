"""From decisions to commits: what one record of the core becomes on the state branch.

A pure mapping: subject, trailers, author and files of each commit (DECISIONS 7). It decides nothing and writes nothing.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coordinator.core.events import Actor, Orphan, Record
from coordinator.core.task import Task
from coordinator.files import layout
from coordinator.files.observe import Observation
from coordinator.git.journal import HUB_ATTRIBUTES
from coordinator.git.message import HUB_EMAIL, HUB_NAME, ROOT, compose
from coordinator.ports import Author, Commit, Slip

#: A stale result kept for people is cut to this many bytes of JSON.
ORPHAN_BYTES = 64 * 1024
#: Domain of the addresses under which agents appear as authors.
AGENT_DOMAIN = "agents.agentcom.invalid"


@dataclass(frozen=True, slots=True)
class Claim:
    """Which hub writes, and in which folder: ``epoch`` counts its starts over all hubs of the branch.

    ``skip_ci``: a forge sees the commits, and none of them is for its pipelines.
    """

    epoch: int
    hub_id: str
    root: str = "."
    skip_ci: bool = False

    def __str__(self) -> str:
        return f"{self.epoch}/{self.hub_id}"


_HUB = Author(HUB_NAME, HUB_EMAIL)


def author_of(actor: Actor) -> Author:
    """Return who a commit names as its author."""
    match actor.kind:
        case "hub":
            return _HUB
        case "agent":
            return Author(actor.name, f"{actor.name}@{AGENT_DOMAIN}")
        case "person":
            return Author(actor.name, actor.email)


def claim_commit(claim: Claim, hub_file: Mapping[str, Any], source: str | None, now_ms: int, *, first: bool) -> Commit:
    """Return the commit with which a hub starts; the ``first`` one of a branch grows out of the source itself."""
    trailers = [("Agentcom-Event", "claim")]
    if source is not None:
        trailers.append(("Agentcom-Source", source))
    puts = layout.hub_change(hub_file)
    if first:
        puts |= HUB_ATTRIBUTES
    message = _said(f"hub {claim.hub_id} starts, epoch {claim.epoch}", claim, trailers)
    return Commit(message, _HUB, now_ms, puts, source=source if first else None)


def slip_commit(slip: Slip, claim: Claim, now_ms: int) -> Commit:
    """Return the commit that puts the branch back and keeps in history what a slip left there."""
    by = f" of {slip.who}" if slip.who else ""
    subject = f"undo a slip{by} on agentcom/state"
    message = _said(subject, claim, [("Agentcom-Event", "slip_undone")], f"agentcom/state {slip.text}")
    return Commit(message, _HUB, now_ms, slip=slip)


def observation_commits(
    seen: Observation, claim: Claim, hub_file: Mapping[str, Any], files: Mapping[str, bytes], now_ms: int
) -> tuple[Commit, ...]:
    """Return the merge of a source commit, then the hub's own notes of it where they changed.

    ``files`` are the present contents of ``status/hub.yaml`` and ``status/backlog.json``.
    """
    trailers = [("Agentcom-Event", "observed"), ("Agentcom-Source", seen.commit)]
    subject = f"observe {seen.commit[:10]} by {seen.author.name or 'unknown'}"
    merge = Commit(_said(subject, claim, trailers), _HUB, now_ms, source=seen.commit)
    notes = layout.hub_change(hub_file)
    if seen.backlog.entries or layout.BACKLOG_MAP in files:
        notes[layout.BACKLOG_MAP] = seen.backlog_json
    notes = {path: data for path, data in notes.items() if files.get(path) != data}
    if not notes:
        return (merge,)
    message = _said("note what was observed", claim, [("Agentcom-Event", "observed")])
    return merge, Commit(message, _HUB, now_ms, notes)


def confirmation_commit(
    by: Actor, names: Iterable[str], notes: Mapping[str, bytes], claim: Claim, now_ms: int
) -> Commit:
    """Return the commit after which batches of these names are held no more; ``notes`` is ``status/hub.yaml`` then."""
    trailers = [("Agentcom-Event", "unheld"), *(("Agentcom-Confirm", name) for name in names)]
    return Commit(_said(f"confirm what is held ({by.name})", claim, trailers), author_of(by), now_ms, dict(notes))


def record_commit(record: Record, claim: Claim, now_ms: int) -> Commit:
    """Return the commit of one record."""
    if record.record is not None:
        puts, deletes = layout.record_change(record.record, record.enlisted, discharged=record.discharged)
        subject = f"agent {record.record.id}: {record.note or record.what}"
        trailers = [("Agentcom-Event", record.what), ("Agentcom-Agent", record.record.id)]
        body = ""
    elif record.after is not None:
        puts, deletes = _task_files(record, record.after, now_ms)
        subject = _subject(record, record.after)
        trailers = _task_trailers(record, record.after)
        body = _body(record, record.after)
    else:
        raise ValueError(f"a record of {record.what} names neither a task nor an agent")
    return Commit(_said(subject, claim, trailers, body), author_of(record.by), now_ms, puts, deletes)


def _subject(record: Record, task: Task) -> str:
    name = record.agent or "" if record.by.kind == "hub" else record.by.name
    who = f" ({name})" if name else ""
    if record.before is None:
        return f"{task.id}: created{who}: {task.spec.title}"
    if record.before.state is not task.state:
        return f"{task.id}: {record.before.state} -> {task.state}{who}"
    return f"{task.id}: {record.what.replace('_', ' ')}{who}"


def _body(record: Record, task: Task) -> str:
    """Return what a commit says below its subject: the question that is asked, the answer to it, else the reason."""
    before, now = record.before, task.status
    if now.question and (before is None or before.status.question != now.question):
        return now.question
    if before is not None and len(now.answers) > len(before.status.answers):
        return now.answers[-1].text
    return record.note


def _task_trailers(record: Record, task: Task) -> list[tuple[str, str]]:
    trailers = [
        ("Agentcom-Task", task.id),
        ("Agentcom-Event", record.what),
        ("Agentcom-Generation", str(task.status.generation)),
    ]
    if record.agent is not None:
        trailers.append(("Agentcom-Agent", record.agent))
    return trailers


def _said(subject: str, claim: Claim, trailers: list[tuple[str, str]], body: str = "") -> str:
    """Return the message of a commit under a claim, signed with its epoch."""
    where = [] if claim.root == "." else [(ROOT, claim.root)]
    return compose(subject, body, [*trailers, *where, ("Agentcom-Epoch", str(claim))], claim.skip_ci)


def _task_files(record: Record, after: Task, now_ms: int) -> tuple[dict[str, bytes], tuple[str, ...]]:
    puts, deletes = layout.changes(record.before, after)
    if record.orphan is not None:
        day = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y/%m/%d")
        puts[f"{layout.CLOSED}/{day}/{after.id}.orphan-{record.orphan.generation}.json"] = _orphan(record.orphan)
    return puts, deletes


def _orphan(orphan: Orphan) -> bytes:
    """Return a stale result as JSON of at most ``ORPHAN_BYTES``; a larger one keeps its beginning and says so."""
    value = {"agent": orphan.agent, "generation": orphan.generation, "result": dict(orphan.result)}
    data = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n"
    if len(data) <= ORPHAN_BYTES:
        return data
    text = json.dumps(dict(orphan.result), ensure_ascii=False, default=str)[: ORPHAN_BYTES // 4]
    return json.dumps({**value, "result": text, "truncated": True}, indent=1, ensure_ascii=False).encode() + b"\n"
