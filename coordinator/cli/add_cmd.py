"""``agentcom add``: one line more in BACKLOG.md, committed as the person who types it."""

from pathlib import Path

import click

from coordinator.cli.common import (
    EXIT_FAILED,
    EXIT_USAGE,
    directory_option,
    fail,
    json_option,
    print_json,
    refuse,
)
from coordinator.cli.reading_options import open_ground


@click.command("add")
@click.argument("title")
@directory_option
@click.option("--lane", default="ready", show_default=True, help="ready, inbox or someday.")
@json_option
def command(title: str, directory: Path, lane: str, as_json: bool) -> None:
    """Add TITLE to BACKLOG.md under a heading of the lane, and commit that line alone.

    TITLE may carry what a backlog line may carry: #label !high needs:python depends:t-1.
    """
    ground = open_ground(directory)
    from coordinator.core.policy import Lane
    from coordinator.files.edit import add_item
    from coordinator.files.markdown import lane_of
    from coordinator.files.validate import read_policy
    from coordinator.git.person import CannotCommit, NoWorkTree, commit_paths

    if ground.repo.work_tree is None:
        refuse(NoWorkTree(f"{ground.repo.common_dir} has no work tree: run this in a clone of it"))
    policy = read_policy(ground.repo.work_tree)
    meant = lane_of(lane, policy.lanes)
    if meant is None or meant in (Lane.DONE, Lane.IN_PROGRESS):
        fail(f"--lane {lane} is no lane to add to: use ready, inbox or someday", EXIT_USAGE)
    name = "BACKLOG.md" if ground.root == "." else f"{ground.root}/BACKLOG.md"
    path = ground.repo.work_tree / name
    try:
        before = path.read_bytes().decode("utf-8") if path.exists() else "# Backlog\n"
        after = add_item(before, title, meant, policy)
    except UnicodeDecodeError:
        fail(f"{name} is not UTF-8: save it as UTF-8 first", EXIT_FAILED)
    except ValueError as error:
        fail(f"{error}, without line breaks or control characters", EXIT_USAGE)
    try:
        commit = commit_paths(ground.repo, ground.source_ref, {name: after.encode()}, f"Add to the backlog: {title}")
    except CannotCommit as error:
        refuse(error)
    _say(ground, name, meant, commit, as_json=as_json, title=title)


def _say(ground: object, name: str, lane: object, commit: str, *, as_json: bool, title: str) -> None:
    from coordinator.core.policy import Lane
    from coordinator.reading import HubClient, HubUnreachable
    from coordinator.service import Ground

    assert isinstance(ground, Ground)  # noqa: S101 - imported lazily, so the annotation cannot say it
    said = ground.place.read_hub()
    running = False
    if said is not None:
        try:
            running = bool(HubClient(str(said.get("url")), None).get("/health"))
        except HubUnreachable:
            running = False
    if as_json:
        print_json({"commit": commit, "path": name, "lane": str(lane), "title": title, "hub_running": running})
        return
    if lane is Lane.READY:
        follows = "the hub hands it to a fitting agent" if running else "no hub is running: agentcom hub"
    else:
        follows = "it waits there until you move it under a ready heading"
    click.echo(f"committed {commit[:8]} to {name}; {follows}")
