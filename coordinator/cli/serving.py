"""What the commands share that let the machine run a service: which manager, what would be done, and doing it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from coordinator.cli.common import EXIT_FAILED, EXIT_USAGE, fail, json_option, print_json

if TYPE_CHECKING:
    from coordinator.services.values import Plan, Service

_MANAGERS = ("systemd", "launchd", "pm2", "none")


@dataclass(frozen=True, slots=True)
class How:
    """The options that all installing commands take; ``run_as`` is empty for who the folder belongs to."""

    manager: str | None
    system: bool
    run_as: str
    dry_run: bool
    as_json: bool


def install_options(function: Any) -> Any:
    """Add ``--manager``, ``--system``, ``--run-as``, ``--dry-run`` and ``--json``."""
    options = [
        click.option(
            "--manager",
            type=click.Choice(_MANAGERS),
            help="Who runs it (default: systemd, launchd or pm2, whichever runs here); none: you.",
        ),
        click.option("--system", is_flag=True, help="A systemd unit of the machine, not of yours; needs root."),
        click.option("--run-as", default="", metavar="USER", help="With --system (default: whose folder it is)."),
        click.option("--dry-run", is_flag=True, help="Print the unit and the commands, do nothing."),
        json_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


def install_service(service: "Service", how: How, by_hand: str) -> "Plan | None":
    """Let the machine run a service, and say so; return how, None when a person is to run it, or it was only shown.

    ``by_hand`` is the command with which a person runs it. Ends with one line when it cannot be done.
    """
    from coordinator.services import choice, machine
    from coordinator.services.values import Manager

    if how.run_as and not how.system:
        fail("--run-as is for --system: your own services run as you", EXIT_USAGE)
    run_as = how.run_as or (machine.owner_of_folder(service.owner) if how.system else "")
    wish = choice.Wish(None if how.manager is None else Manager(how.manager), how.system, run_as)
    if wish.manager is Manager.NONE and not wish.system:
        _nothing_installed(service, how, by_hand)
        return None
    try:
        plan = choice.plan(machine.look(), service, wish, only_shown=how.dry_run)
    except choice.NoManager as error:
        fail(f"{error}: keep `{by_hand}` running yourself, for example as the command of the container", EXIT_FAILED)
    if how.dry_run:
        _show(plan, how)
        return None
    try:
        done = machine.install(plan, machine.run_program)
    except machine.Failed as error:
        fail(str(error))
    if how.as_json:
        print_json({**_plan_json(plan), "dry_run": False, "changed": done, "running": machine.runs(plan)})
    else:
        click.echo(f"{service.name}: {'installed and started' if done else 'runs already, as it should'}, {plan.file}")
        for note in plan.notes:
            click.echo(note)
        click.echo(f"what it says: {' '.join(plan.log)}")
    return plan


def uninstall_services(found: "Sequence[Plan]", what: str, *, dry_run: bool, as_json: bool) -> None:
    """Stop services and take them away, and say so; ``what`` is said of when there are none."""
    from coordinator.services import machine

    removed: list[str] = []
    for plan in found:
        commands = [" ".join(argv) for argv in (*plan.stop, *plan.after_removal)]
        if dry_run:
            if not as_json:
                click.echo("\n".join((*commands[: len(plan.stop)], f"rm {plan.file}", *commands[len(plan.stop) :])))
            continue
        try:
            machine.uninstall(plan, machine.run_program)
        except machine.Failed as error:
            fail(str(error))
        removed.append(str(plan.file))
        if not as_json:
            click.echo(f"{plan.service.name}: stopped, and removed {plan.file}")
    if as_json:
        print_json({"dry_run": dry_run, "found": [str(plan.file) for plan in found], "removed": removed})
    elif not found:
        click.echo(f"{what} is not installed here: there was nothing to take away")


def _nothing_installed(service: "Service", how: How, by_hand: str) -> None:
    if how.as_json:
        print_json({"name": service.name, "manager": "none", "dry_run": how.dry_run, "command": by_hand})
    else:
        click.echo(f"nothing is installed; it runs as long as you keep this running:\n  {by_hand}")


def _show(plan: "Plan", how: How) -> None:
    if how.as_json:
        print_json({**_plan_json(plan), "dry_run": True, "changed": False, "running": None})
        return
    click.echo(f"# would write {plan.file}:")
    click.echo(plan.text, nl=False)
    click.echo("# and then run:")
    for argv in (*plan.fresh, *plan.start):
        click.echo(" ".join(argv))
    for note in plan.notes:
        click.echo(f"# {note}")


def _plan_json(plan: "Plan") -> dict[str, Any]:
    return {
        "name": plan.service.name,
        "manager": str(plan.manager),
        "file": str(plan.file),
        "text": plan.text,
        "commands": [list(argv) for argv in (*plan.fresh, *plan.start)],
        "log": list(plan.log),
        "notes": list(plan.notes),
    }


def unfit(error: Exception) -> NoReturn:
    """End the command because the service cannot be written down."""
    fail(str(error), EXIT_USAGE)


def search_path() -> str:
    """Return where the programs of a service are looked for: where those of this command are."""
    import os

    return os.environ.get("PATH", os.defpath)
