"""Which service manager is taken, by what is on the machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.services import ours
from coordinator.services.choice import Machine, NoManager, Wish, plan
from coordinator.services.values import Manager

HOME = Path("/people/ada")
BARE = Machine(False, False, False, False, False, False, "ada", 1000, HOME, HOME / ".config")
SYSTEMD = replace(BARE, systemd=True, user_manager=True)
ANY = Wish()
SERVICE = ours.hub(Path("/srv/p/.git"), Path("/srv/p"), ("--listen", "127.0.0.1:4000"), "/bin")


def _chosen(machine: Machine, wish: Wish = ANY) -> Manager:
    return plan(machine, SERVICE, wish).manager


def test_systemd_comes_before_pm2_and_launchd_is_for_macos() -> None:
    assert _chosen(replace(SYSTEMD, pm2=True)) is Manager.SYSTEMD
    assert _chosen(replace(BARE, macos=True, launchctl=True, pm2=True)) is Manager.LAUNCHD
    assert _chosen(replace(BARE, pm2=True)) is Manager.PM2


def test_where_nothing_runs_services_it_says_so() -> None:
    with pytest.raises(NoManager, match="no service manager runs here"):
        _chosen(BARE)


def test_without_a_manager_of_the_person_it_says_how_to_get_one() -> None:
    with pytest.raises(NoManager, match="enable-linger ada"):
        _chosen(replace(SYSTEMD, user_manager=False))
    assert _chosen(replace(SYSTEMD, user_manager=False, pm2=True)) is Manager.PM2


def test_one_that_is_not_here_is_refused_and_the_one_that_is_here_named() -> None:
    with pytest.raises(NoManager, match="pm2 does not run here: leave --manager away, systemd does"):
        _chosen(SYSTEMD, Wish(Manager.PM2))
    with pytest.raises(NoManager, match="launchd does not run here, and neither does another"):
        _chosen(BARE, Wish(Manager.LAUNCHD))


def test_a_unit_of_the_machine_needs_root_and_systemd() -> None:
    with pytest.raises(NoManager, match="sudo"):
        _chosen(SYSTEMD, Wish(system=True))
    with pytest.raises(NoManager, match="--system is for systemd"):
        _chosen(replace(SYSTEMD, pm2=True), Wish(Manager.PM2, system=True))
    made = plan(replace(SYSTEMD, user="root", uid=0), SERVICE, Wish(system=True, run_as="ada"))
    assert made.file == Path("/etc/systemd/system/agentcom-hub-p.service")
    assert "User=ada\n" in made.text
    assert made.start[0] == ("systemctl", "daemon-reload")


def test_a_plan_that_is_only_shown_may_be_for_another_machine() -> None:
    assert plan(BARE, SERVICE, Wish(Manager.LAUNCHD), only_shown=True).manager is Manager.LAUNCHD
    assert plan(BARE, SERVICE, Wish(system=True, run_as="ada"), only_shown=True).file.parent.name == "system"


def test_who_does_not_linger_is_told() -> None:
    assert "enable-linger" in plan(SYSTEMD, SERVICE, Wish()).notes[0]
    assert plan(replace(SYSTEMD, lingers=True), SERVICE, Wish()).notes == ()
