"""``agentcom confirm``: a person has looked at what is held, and lets it go on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.common import directory_option, fail, json_option, print_json, print_table, refuse
from coordinator.cli.reading_options import look, open_ground

if TYPE_CHECKING:
    from coordinator.ground import Ground
    from coordinator.plan import Planned

#: How many entries of one batch are listed before "and n more".
SHOWN = 40
_WHY = {
    "added": "new ready items came at once",
    "existing": "items stood there before `agentcom init`",
    "removed": "open tasks would disappear at once",
    "proposed": "proposed by an agent",
}


@click.command("confirm")
@click.option("--show", is_flag=True, help="Say what is held and why; confirm nothing.")
@click.option("--push", is_flag=True, help="Push the branch to its upstream afterwards.")
@click.option("--hub", metavar="URL", help="Tell this hub, through its HTTP API: no clone is needed.")
@directory_option
@json_option
def command(show: bool, push: bool, hub: str | None, directory: Path, as_json: bool) -> None:
    """Let go on what is held: too many new lines at once, lines older than init, too many removals, proposals.

    Makes one commit on your branch that changes no file and names, in a trailer, the commits that you have looked at.
    With --hub the hub records it in your name, and nothing else than what was shown is confirmed.
    """
    if hub is not None:
        _elsewhere(hub, directory, show=show, push=push, as_json=as_json)
        return
    from coordinator.git.person import CannotCommit, NotPushed, check_ready, commit_word
    from coordinator.git.person import push as push_branch

    ground = open_ground(directory)
    picture = look(directory, None)
    titles = {task["id"]: task["title"] for task in picture.tasks}
    held = list(picture.summary.get("held", ()))
    coming = _coming(ground)
    head = _head(ground)
    unobserved = bool(coming) and head is not None and head != picture.summary.get("observed_commit")
    names = [batch["commit"] for batch in held] + ([head] if unobserved and head is not None else [])
    if not as_json:
        _say(held, titles, coming if unobserved else ())
    commit: str | None = None
    try:
        if names and not show:
            check_ready(ground.repo, ground.source_ref)
            count = sum(len(batch["ids"]) for batch in held) + (len(coming) if unobserved else 0)
            trailers = [("Agentcom-Confirm", name) for name in names]
            commit = commit_word(ground.repo, ground.source_ref, f"Confirm what is held ({count})", trailers)
            if push:
                push_branch(ground.repo, ground.source_ref)
    except CannotCommit as error:
        refuse(error)
    except NotPushed as error:
        fail(str(error))
    if as_json:
        rows = _rows(held, titles)
        waiting = [{"id": one.id, "title": one.title, "line": one.line} for one in coming] if unobserved else []
        print_json({"held": rows, "coming": waiting, "commit": commit, "confirmed": names if commit else []})
    elif commit is not None:
        click.echo(f"committed {commit[:8]}: confirmed; the hub goes on with it")
        if ground.to_push and not push:
            click.echo(ground.to_push)
    elif names:
        click.echo("to let it go on: agentcom confirm")


def _elsewhere(hub: str, directory: Path, *, show: bool, push: bool, as_json: bool) -> None:
    """Confirm at a hub what it holds now, and only that."""
    from coordinator.cli.elsewhere import Elsewhere

    there = Elsewhere(hub, directory, push=push, as_json=as_json)
    picture = look(directory, hub)
    titles = {task["id"]: task["title"] for task in picture.tasks}
    held = list(picture.summary.get("held", ()))
    if not as_json:
        _say(held, titles, ())
    confirmed = there.confirm([batch["commit"] for batch in held]) if held and not show else ()
    if as_json:
        print_json({"held": _rows(held, titles), "coming": [], "commit": None, "confirmed": list(confirmed)})
    elif confirmed:
        click.echo(f"confirmed at {hub}: the hub goes on with it")
    elif held and show:
        click.echo(f"to let it go on: agentcom confirm --hub {hub}")
    elif held:
        click.echo("somebody else has confirmed it in this moment")


def _rows(held: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{**batch, "titles": [titles.get(name, "") for name in batch["ids"]]} for batch in held]


def _coming(ground: "Ground") -> "tuple[Planned, ...]":
    """Return what the next observation would hold."""
    from coordinator.plan import make_plan
    from coordinator.ports import StoreError

    if ground.repo.work_tree is None:
        return ()
    try:
        return make_plan(ground, ground.repo.work_tree, committed=True).plan.held
    except StoreError as error:
        fail(str(error))


def _head(ground: "Ground") -> str | None:
    from coordinator.git.repo import read_ref

    return read_ref(ground.repo, ground.source_ref)


def _say(held: Sequence[Mapping[str, Any]], titles: Mapping[str, str], coming: "Sequence[Planned]") -> None:
    for batch in held:
        ids = batch["ids"]
        what = "revision" if batch["kind"] == "proposed" else "source commit"
        click.echo(f"{what} {batch['commit'][:10]}: {len(ids)} {_WHY.get(batch['kind'], batch['kind'])}")
        print_table([(name, titles.get(name, "")[:70]) for name in ids[:SHOWN]], "  ", ("task", "title"))
        if len(ids) > SHOWN:
            click.echo(f"  and {len(ids) - SHOWN} more")
    if coming:
        click.echo(f"committed and not observed yet: {len(coming)} would be held")
        print_table([(one.id, one.title[:70], one.why) for one in coming[:SHOWN]], "  ", ("task", "title", "why"))
    if not held and not coming:
        click.echo("nothing is held")
