"""``agentcom hub install|uninstall``: the hub of a clone as a service of the machine."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.cli.common import (
    EXIT_LOCKED,
    EXIT_NO_HUB,
    EXIT_USAGE,
    busy,
    directory_option,
    fail,
    json_option,
)
from coordinator.cli.reading_options import open_ground
from coordinator.cli.serving import How, install_options, install_service, search_path, unfit, uninstall_services

if TYPE_CHECKING:
    from coordinator.config import Machine, Settled
    from coordinator.ground import Ground
    from coordinator.listening import Listening
    from coordinator.services.values import Plan, Service

#: How long a hub may take to answer after its start, in seconds, where the manager does not wait for it.
ANSWER_WITHIN = 60.0


@click.command("install")
@directory_option
@click.option(
    "--listen", metavar="HOST:PORT", help="Where agents connect (default: as the config says, else 127.0.0.1:4000)."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The hub's machine config, with TLS and what else it needs (default: as `agentcom hub` finds it).",
)
@click.option("--name", default="", metavar="NAME", help="Of the service (default: agentcom-hub-FOLDER).")
@install_options
def install(
    directory: Path,
    listen: str | None,
    config: Path | None,
    name: str,
    manager: str | None,
    system: bool,
    run_as: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Let the machine run the hub of this clone: now, after a failure, after a reboot.

    By systemd, launchd or pm2, whichever runs here; --dry-run shows what would be written and run. Doing it again
    changes nothing, or what is different.
    """
    from coordinator.config import Asked, settled

    machine = _machine(config)
    said = settled(Asked(repo=directory if directory != Path() else None, listen=listen or None), machine)
    listening = _checked(said)
    ground = open_ground(said.repo.value)
    words = () if machine.where is None else ("--config", str(machine.where))
    if listen or not machine.listen:
        words = (*words, "--listen", f"{listening.host}:{listening.port}")
    service = _service(ground, words, name, said.data_dir.value)
    how = How(manager, system, run_as, dry_run, as_json)
    if not dry_run and manager != "none":
        _refuse_second(ground, service)
    by_hand = shlex.join(("agentcom", "hub", "--repo", str(_top(ground)), *words))
    plan = install_service(service, how, by_hand)
    if plan is not None:
        _wait(ground, plan)


@click.command("uninstall")
@directory_option
@click.option("--name", default="", metavar="NAME", help="Only the one of this name (default: all of this clone).")
@click.option("--dry-run", is_flag=True, help="Print the commands, do nothing.")
@json_option
def uninstall(directory: Path, name: str, dry_run: bool, as_json: bool) -> None:
    """Stop the service of this clone's hub and take it away; trail, tasks and tokens stay.

    Agents go on with what they have in hand and report to the next hub.
    """
    from coordinator.services import machine

    ground = open_ground(directory)
    found = [plan for plan in machine.services_of(_owner(ground)) if name in ("", plan.service.name)]
    uninstall_services(found, name or f"the hub of {_top(ground)}", dry_run=dry_run, as_json=as_json)


def _machine(config: Path | None) -> "Machine":
    """Return what the machine config says, or end with one line."""
    from coordinator.config import find
    from coordinator.trail import CannotStart

    try:
        return find(config)
    except CannotStart as error:
        fail(str(error), error.exit_code)


def _checked(said: "Settled") -> "Listening":
    """Return where the hub listens; end with one line when it would not start there."""
    from coordinator.listening import check
    from coordinator.trail import CannotStart

    try:
        listening = said.listening()
        if listening.port == 0:
            fail("--listen: a service needs a port that stays the same, because agents come back to it", EXIT_USAGE)
        check(listening)
    except CannotStart as error:
        fail(str(error), error.exit_code)
    return listening


def _service(ground: "Ground", words: tuple[str, ...], name: str, data_dir: Path | None = None) -> "Service":
    from coordinator.services import ours
    from coordinator.services.values import Unfit

    try:
        return ours.hub(_owner(ground), _top(ground), words, search_path(), name, data_dir)
    except Unfit as error:
        unfit(error)


def _owner(ground: "Ground") -> Path:
    """Return what a service of this clone's hub belongs to."""
    return ground.repo.common_dir.resolve()


def _top(ground: "Ground") -> Path:
    return (ground.repo.work_tree or ground.repo.common_dir).resolve()


def _refuse_second(ground: "Ground", service: "Service") -> None:
    """End with one line when another hub runs here, or is to: both want the repository."""
    from coordinator.reading import hub_runs
    from coordinator.services import machine

    there = machine.services_of(service.owner)
    for plan in there:
        if plan.service.name != service.name:
            fail(f"the hub of this clone is {plan.service.name} already, {plan.file}: `agentcom hub uninstall` first")
    if any(machine.runs(plan) for plan in there):
        return
    url = hub_runs(ground)
    if url is not None:
        pid = (ground.place.read_hub() or {}).get("pid")
        fail(f"a hub runs here already (pid {pid}, {url}): stop that one first, then install", EXIT_LOCKED)


def _wait(ground: "Ground", plan: "Plan") -> None:
    """Return once the hub answers; end with one line when it does not."""
    import time

    from coordinator.reading import hub_runs

    end = time.monotonic() + ANSWER_WITHIN
    with busy("waiting for the hub to answer ..."):
        while (url := hub_runs(ground)) is None:
            if time.monotonic() > end:
                fail(f"the service was started, but no hub answers: `{' '.join(plan.log)}` says why", EXIT_NO_HUB)
            time.sleep(0.2)
    click.echo(f"hub ready at {url}", err=True)
