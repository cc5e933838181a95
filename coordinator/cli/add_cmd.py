"""``agentcom add``: one line more in BACKLOG.md, committed as the person who types it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import (
    EXIT_FILES_WRONG,
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    print_json,
    refuse,
)
from coordinator.cli.reading_options import open_ground
from coordinator.cli.status_cmd import problem_line

if TYPE_CHECKING:
    from coordinator.core.policy import Lane, Policy
    from coordinator.files.edit import Added


@click.command("add")
@click.argument("title")
@directory_option
@click.option("--lane", default="ready", show_default=True, help="ready, inbox, someday, or a heading that means one.")
@click.option("--hub", metavar="URL", help="Let this hub make a task of it, through its HTTP API: no clone is needed.")
@json_option
def command(title: str, directory: Path, lane: str, hub: str | None, as_json: bool) -> None:
    """Add TITLE to BACKLOG.md under a heading of the lane, and commit that line alone.

    TITLE may carry what a backlog line may carry: #label !high needs:python depends:t-1.
    """
    if hub is not None:
        _elsewhere(title, directory, lane, hub, as_json=as_json)
        return
    ground = open_ground(directory)
    from coordinator.core.policy import Lane
    from coordinator.files.validate import read_policy
    from coordinator.git.person import CannotCommit, NoWorkTree, commit_paths
    from coordinator.reading import hub_runs

    if ground.repo.work_tree is None:
        refuse(NoWorkTree(f"{ground.repo.common_dir} has no work tree: run this in a clone of it"))
    policy = read_policy(ground.repo.work_tree)
    meant = _meant(lane, policy)
    name = ground.path("BACKLOG.md")
    path = ground.repo.work_tree / name
    try:
        before = path.read_bytes().decode("utf-8") if path.exists() else "# Backlog\n"
    except UnicodeDecodeError:
        fail(f"{name} is not UTF-8: save it as UTF-8 first", EXIT_FILES_WRONG)
    added = _edit(before, title, meant, policy, lane, name)
    files = {name: added.text.encode()}
    try:
        commit = commit_paths(ground.repo, ground.source_ref, files, f"Add to the backlog: {added.item.title}")
    except CannotCommit as error:
        refuse(error)
    running = hub_runs(ground) is not None
    if as_json:
        said = {"commit": commit, "path": name, "line": added.item.line, "lane": str(meant), "title": added.item.title}
        print_json({**said, "priority": added.item.priority.word, "hub_running": running})
        return
    if meant is not Lane.READY:
        follows = "it waits there until you move it under a heading that is ready"
    elif running or ground.elsewhere:
        follows = "the hub hands it to a fitting agent; `agentcom status` says how it goes"
    else:
        follows = "no hub is running: start one with `agentcom up`, or `agentcom hub` alone"
    click.echo(f"committed {commit[:8]}: {name}:{added.item.line}; {follows}")
    if ground.to_push:
        click.echo(ground.to_push)


def _elsewhere(title: str, directory: Path, lane: str, hub: str, *, as_json: bool) -> None:
    """Let a hub make a task of what would have been a line."""
    from coordinator.cli.elsewhere import Elsewhere
    from coordinator.core.policy import Lane, Policy

    policy = Policy()
    if _meant(lane, policy) is not Lane.READY:
        fail("--lane and --hub exclude one another: a task without a line has no lane", EXIT_USAGE)
    item = _edit("# Backlog\n", title, Lane.READY, policy, lane, "BACKLOG.md").item
    values = {
        "title": item.title,
        "description": item.description,
        "priority": item.priority.word,
        "labels": item.labels,
        "needed_capabilities": item.needs,
        "depends_on": item.depends,
        "assignee": item.assignee,
        "repo": item.repo,
        "base": item.base,
        "kind": item.kind,
        "complete_by": item.due,
        "timeout": f"{item.timeout_s:.3f}s" if item.timeout_s else None,
        "review": {None: None, True: "required", False: "none"}[item.review],
    }
    there = Elsewhere(hub, directory, push=False, as_json=as_json)
    there.new({key: value for key, value in values.items() if value})


def _meant(lane: str, policy: "Policy") -> "Lane":
    """Return the lane that a word means: a heading of this repository, else one of the usual names."""
    from coordinator.core.policy import DEFAULT_LANES, Lane
    from coordinator.files.markdown import lane_of

    meant = lane_of(lane, policy.lanes) or lane_of(lane, DEFAULT_LANES)
    if meant in (Lane.DRAFT, Lane.READY, Lane.DEFERRED):
        return meant
    fail(f"--lane {lane} is no lane to add to: use ready, inbox or someday", EXIT_USAGE)


def _edit(before: str, title: str, lane: "Lane", policy: "Policy", heading: str, name: str) -> "Added":
    from dataclasses import asdict

    from coordinator.files.edit import NoPlace, NotAnItem, add_item

    try:
        added = add_item(before, title, lane, policy, heading=heading)
    except NotAnItem as error:
        fail(str(error), EXIT_USAGE)
    except NoPlace as error:
        fail(f"{name}: {error}", EXIT_FILES_WRONG)
    for remark in added.remarks:
        click.echo(f"note: {problem_line(asdict(remark))}", err=True)
    return added
