"""Which service manager runs a service on this machine. Pure: a judgement over facts that ``machine`` gathers.

NoManager                   the one that was asked for, or any, does not run here; the text says what to do
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coordinator.services import launchd, pm2, systemd
from coordinator.services.systemd import Scope
from coordinator.services.values import Manager, Plan, Service

#: Where units of the machine stand that its administrator wrote.
SYSTEM_UNITS = Path("/etc/systemd/system")


class NoManager(Exception):
    """No service manager can do what was asked."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of a machine and of the person who asks.

    ``systemd``: it is what runs the machine; ``user_manager``: it answers this person, ``lingers``: also without a
    session of theirs. ``user``, ``uid``: who asks. ``config`` is the person's folder for configuration.
    """

    macos: bool
    systemd: bool
    user_manager: bool
    lingers: bool
    launchctl: bool
    pm2: bool
    user: str
    uid: int
    home: Path
    config: Path
    system_units: Path = SYSTEM_UNITS


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for: a manager, or None for what is here; ``system``: the machine's own, run as ``run_as``."""

    manager: Manager | None = None
    system: bool = False
    run_as: str = ""


def plan(machine: Machine, service: Service, wish: Wish, *, only_shown: bool = False) -> Plan:
    """Return how this service comes to run here; a plan that is ``only_shown`` may be for another machine.

    Raises NoManager.
    """
    wanted = Manager.SYSTEMD if wish.system else wish.manager
    manager = wanted if only_shown and wanted is not None else _manager(machine, wish)
    match manager:
        case Manager.SYSTEMD:
            return _unit(machine, service, system=wish.system, run_as=wish.run_as)
        case Manager.LAUNCHD:
            return launchd.plan(service, machine.home, machine.uid)
        case Manager.PM2:
            return pm2.plan(service, machine.config)
        case Manager.NONE:
            raise NoManager("nothing is installed")


def places(machine: Machine, service: Service) -> Iterator[Plan]:
    """Yield every way in which a service may have been installed, whoever runs here now."""
    yield _unit(machine, service, system=False)
    yield _unit(machine, service, system=True)
    yield launchd.plan(service, machine.home, machine.uid)
    yield pm2.plan(service, machine.config)


def _unit(machine: Machine, service: Service, *, system: bool, run_as: str = "") -> Plan:
    if system:
        return systemd.plan(service, Scope(machine.system_units, run_as or machine.user))
    return systemd.plan(service, Scope(machine.config / "systemd/user"), lingers=machine.lingers)


def _manager(machine: Machine, wish: Wish) -> Manager:
    """Return who is to run it. Raises NoManager."""
    if wish.system and wish.manager not in (None, Manager.SYSTEMD):
        raise NoManager(f"--system is for systemd, not for {wish.manager}")
    wanted = Manager.SYSTEMD if wish.system else wish.manager
    if wanted is None:
        return _here(machine)
    there = {
        Manager.SYSTEMD: machine.systemd,
        Manager.LAUNCHD: machine.macos and machine.launchctl,
        Manager.PM2: machine.pm2,
        Manager.NONE: True,
    }
    if not there[wanted]:
        raise NoManager(f"{wanted} does not run here{_instead(machine)}")
    if wanted is Manager.SYSTEMD and wish.system and machine.uid != 0:
        raise NoManager("--system writes a unit of the machine: run it with sudo, or leave --system away")
    if wanted is Manager.SYSTEMD and not wish.system and not machine.user_manager:
        raise NoManager(_no_user_manager(machine))
    return wanted


def _here(machine: Machine) -> Manager:
    if machine.systemd and machine.user_manager:
        return Manager.SYSTEMD
    if machine.macos and machine.launchctl:
        return Manager.LAUNCHD
    if machine.pm2:
        return Manager.PM2
    if machine.systemd:
        raise NoManager(_no_user_manager(machine))
    raise NoManager("no service manager runs here (no systemd, launchd or pm2), as in most containers")


def _no_user_manager(machine: Machine) -> str:
    return (
        f"systemd runs here, but no manager of {machine.user} answers (no session, or XDG_RUNTIME_DIR is not set): log "
        f"in as {machine.user}, or `loginctl enable-linger {machine.user}`, or --system with sudo"
    )


def _instead(machine: Machine) -> str:
    try:
        return f": leave --manager away, {_here(machine)} does"
    except NoManager:
        return ", and neither does another service manager"
