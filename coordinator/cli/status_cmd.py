"""``agentcom status``: what is going on, in one screen."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import directory_option, json_option, one_line, print_json, print_table, table, toned
from coordinator.cli.reading_options import hub_option, look, say_origin

if TYPE_CHECKING:
    from coordinator.yourturn import Turn

#: How many tasks of one kind are listed before "and n more".
SHOWN = 10
_IN_HAND = ("assigned", "working")
_BAD_ENDS = ("failed", "rejected")
_DRAFT = ("task", "lane", "where", "title")


@click.command("status")
@directory_option
@hub_option
@json_option
def command(directory: Path, hub: str | None, as_json: bool) -> None:
    """Say what is going on: tasks, agents, problems, and as of when."""
    picture = look(directory, hub)
    if as_json:
        print_json({**picture.summary, **picture.origin, "agents": picture.agents, "problems": picture.problems})
        return
    say_origin(picture)
    if picture.known:
        click.echo(f"tasks: {_counts(picture.summary)}")
    if picture.summary.get("read_only"):
        click.echo(toned(one_line(f"READ-ONLY: {picture.summary['read_only']}"), "bad"))
    _remote(picture.summary.get("remote"))
    _agents(picture.agents)
    _yours(picture.tasks)
    _tasks("in hand:", [t for t in picture.tasks if t["status"] in _IN_HAND], _owner, "who")
    _tasks("waiting:", [t for t in picture.tasks if t["status"] == "queued"], _reason, "why")
    _drafts(picture.summary.get("drafts", ()))
    failed = [t for t in picture.tasks if t["status"] in _BAD_ENDS]
    _tasks("failed (`agentcom task rerun ID` runs one again):", failed, lambda task: task["reason"], "why")
    if picture.problems:
        click.echo("problems:")
        for problem in picture.problems:
            click.echo(f"  {problem_line(problem)}")
    _uncommitted(picture.summary)


def _remote(remote: Mapping[str, Any] | None) -> None:
    """Say how far the remote lags behind, and since when."""
    if remote is None:
        return
    fetched, pushed, since = (_ago(remote[key]) for key in ("fetched_at", "pushed_at", "unpushed_since"))
    parts = [f"fetched {fetched}"] if fetched else []
    if remote["unpushed"]:
        commits = "1 commit" if remote["unpushed"] == 1 else f"{remote['unpushed']} commits"
        parts.append(f"{commits} not pushed{f', the first {since}' if since else ''}")
    elif remote["pushed_commit"]:
        parts.append(f"everything pushed{f', last {pushed}' if pushed else ''}")
    click.echo(one_line(f"remote: {remote['name']} ({remote['url']}): {', '.join(parts) or 'nothing pushed yet'}"))
    if remote["notice"]:
        click.echo("  " + one_line(f"{remote['notice']} ({_ago(remote['notice_at'])})"))


def _ago(instant: str | None) -> str:
    """Return how long ago an RFC 3339 instant was, empty for none."""
    from coordinator.reading import ago

    if instant is None:
        return ""
    return ago(time.time_ns() // 1_000_000 - int(datetime.fromisoformat(instant).timestamp() * 1000))


def _drafts(drafts: Sequence[Mapping[str, Any]]) -> None:
    """Say which lines of the backlog wait for a person to move them under a ready heading."""
    if not drafts:
        return
    click.echo("drafts (they run once they stand under a ready heading):")
    print_table([(d["id"], d["lane"], f"line {d['line']}", d["title"][:60]) for d in drafts[:SHOWN]], "  ", _DRAFT)
    if len(drafts) > SHOWN:
        click.echo(f"  and {len(drafts) - SHOWN} more")


def _uncommitted(summary: Mapping[str, Any]) -> None:
    """Say what the hub does not see because it is only saved; more than a screenful is only counted."""
    lines = summary.get("uncommitted", ())
    if not lines:
        return
    click.echo("work tree:")
    for line in lines[:SHOWN]:
        click.echo(f"  {one_line(line['text'])}")
    if len(lines) > SHOWN:
        click.echo(f"  and {len(lines) - SHOWN} more")
    click.echo(f"  {one_line(summary.get('uncommitted_hint', ''))}")


def _counts(summary: Mapping[str, Any]) -> str:
    counts = [f"{number} {name}" for name, number in summary.get("by_status", {}).items() if number]
    if earlier := summary.get("closed_before_start"):
        counts.append(f"{earlier} finished earlier")
    return ", ".join(counts) or "none"


def _agents(agents: tuple[Mapping[str, Any], ...]) -> None:
    if not agents:
        click.echo("agents: none; add one with `agentcom agent add NAME`")
        return
    click.echo("agents:")
    rows = [(a["agent_id"], a["fsm_state"], a["current_task_id"] or "-", agent_flags(a)) for a in agents]
    print_table(rows, "  ", ("agent", "state", "task", "flags"))


def agent_flags(agent: Mapping[str, Any]) -> str:
    """Return an agent's flags, each with why it is so and how long, where that is known."""
    return ", ".join(_flag(flag, agent) for flag in agent["flags"])


def _flag(flag: str, agent: Mapping[str, Any]) -> str:
    if flag == "disabled":
        return f"disabled ({agent['where']})" if agent.get("where") else flag
    if flag != "parked" or not agent["parked_reason"]:
        return flag
    until = agent.get("parked_until")
    return (
        f"parked ({agent['parked_reason']}{f', until {until}' if until else '; mend it, then start its sidecar again'})"
    )


def _tasks(title: str, tasks: list[Mapping[str, Any]], say: Any, about: str) -> None:
    if not tasks:
        return
    click.echo(title)
    rows = [(t["id"], t["status"], t["title"][:60], str(say(t) or "")) for t in tasks[:SHOWN]]
    print_table(rows, "  ", ("task", "status", "title", about))
    if len(tasks) > SHOWN:
        click.echo(f"  and {len(tasks) - SHOWN} more: agentcom task list")


def _yours(tasks: Sequence[Mapping[str, Any]]) -> None:
    """Say which tasks nobody but a person can go on with, each with what to copy."""
    from coordinator.yourturn import WAITING, turn_of

    yours = [(task, turn) for task in tasks if task["status"] in WAITING and (turn := turn_of(task)) is not None]
    if not yours:
        return
    click.echo("waits for you:")
    rows = [(t["id"], t["status"], t["title"][:60], f"{_owner(t)}: {turn.what}") for t, turn in yours[:SHOWN]]
    for line, (_, turn) in zip(table(rows, "  ").splitlines(), yours[:SHOWN], strict=True):
        click.echo(line)
        print_ways(turn, "    ")
    if len(yours) > SHOWN:
        click.echo(f"  and {len(yours) - SHOWN} more: agentcom task list")


def print_ways(turn: "Turn", indent: str = "  ") -> None:
    """Print each way to go on with a task in a line that ends with what to copy, and is never broken."""
    click.echo(table([(f"{meaning}:", command) for meaning, command in turn.ways], indent))


def _owner(task: Mapping[str, Any]) -> str:
    owner = task["assigned_to"] or task["last_owner"] or ""
    lost = "; orphaned: its line is gone, put it back or `agentcom task cancel ID`" if task["orphaned"] else ""
    return f"{owner}, attempt {task['attempt']}{lost}"


def _reason(task: Mapping[str, Any]) -> str:
    return str((task["why"] or {}).get("text", ""))


def problem_line(problem: Mapping[str, Any]) -> str:
    """Return a problem as ``path:line:col: field: what, what to do``."""
    place = problem["path"]
    if problem["line"]:
        place += f":{problem['line']}" + (f":{problem['column']}" if problem["column"] else "")
    text = ", ".join(part for part in (problem["what"], problem["hint"]) if part)
    return one_line(": ".join(part for part in (place, problem["field"], text) if part))
