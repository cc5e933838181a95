"""``agentcom hub install`` and ``uninstall``, with a small systemctl that really starts what the unit says."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import fakesystemctl
from support.cli import call
from support.repo import Clone, git_env, make_repo

from coordinator.services import machine


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    for key, value in git_env().items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(machine, "BOOTED", tmp_path / "booted")
    made = make_repo(tmp_path / "My Project", {"BACKLOG.md": "# Backlog\n"})
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def noted(clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The calls of a systemctl that is there; what it started ends with the test."""
    (tmp_path / "booted").mkdir()
    with fakesystemctl.services_in(tmp_path / "bin") as noted:
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        yield noted


def _unit(tmp_path: Path, name: str = "agentcom-hub-my-project") -> Path:
    return tmp_path / "config/systemd/user" / f"{name}.service"


@pytest.mark.slow
def test_the_hub_runs_as_a_service_until_it_is_taken_away(capfd, clone, noted, tmp_path, free_port) -> None:
    listen = ("--listen", f"127.0.0.1:{free_port}")
    said = call(capfd, "hub", "install", *listen)
    assert said.code == 0, said.err
    assert f"hub ready at http://127.0.0.1:{free_port}" in said.err
    assert "agentcom-hub-my-project: installed and started" in said.out
    assert call(capfd, "status", "--json").json["live"] is True
    steps = [words[1:] for words in fakesystemctl.calls(noted) if words[1] in ("daemon-reload", "enable", "restart")]
    unit = "agentcom-hub-my-project.service"
    assert steps == [["daemon-reload"], ["enable", unit], ["restart", unit]]

    again = call(capfd, "hub", "install", *listen, "--json")
    assert (again.code, again.json["changed"], again.json["running"]) == (0, False, True)

    other = call(capfd, "hub", "install", *listen, "--name", "another")
    assert (other.code, "agentcom-hub-my-project already" in other.err) == (1, True)

    gone = call(capfd, "hub", "uninstall")
    assert gone.code == 0, gone.err
    assert not _unit(tmp_path).exists()
    assert call(capfd, "status", "--json").json["live"] is False
    assert "nothing to take away" in call(capfd, "hub", "uninstall").out


@pytest.mark.slow
def test_a_service_that_cannot_start_says_where_its_words_are(capfd, clone, noted, free_port) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        said = call(capfd, "hub", "install", "--listen", f"127.0.0.1:{free_port}")
    assert said.code == 1
    assert "`systemctl --user restart agentcom-hub-my-project.service` failed: Job failed" in said.err
    assert "--unit=agentcom-hub-my-project.service" in said.err


def test_where_no_service_manager_runs_it_says_so_and_offers_the_foreground(capfd, clone) -> None:
    said = call(capfd, "hub", "install")
    assert said.code == 1
    assert "no service manager runs here" in said.err
    assert f"keep `agentcom hub --repo '{clone.path}' --listen 127.0.0.1:4000` running yourself" in said.err
    assert call(capfd, "hub", "install", "--manager", "none").code == 0


def test_a_dry_run_shows_unit_and_commands_and_writes_nothing(capfd, clone, tmp_path: Path) -> None:
    said = call(capfd, "hub", "install", "--dry-run", "--manager", "systemd")
    assert said.code == 0, said.err
    assert "Type=notify" in said.out
    assert "systemctl --user enable agentcom-hub-my-project.service" in said.out
    assert not (tmp_path / "config").exists()
    as_json = call(capfd, "hub", "install", "--dry-run", "--manager", "pm2", "--json").json
    assert as_json["commands"][1] == ["pm2", "start", f"{tmp_path}/config/agentcom/agentcom-hub-my-project.config.js"]


def test_a_unit_of_somebody_else_is_never_overwritten(capfd, clone, noted, tmp_path: Path) -> None:
    unit = _unit(tmp_path)
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    said = call(capfd, "hub", "install")
    assert said.code == 1
    assert "was not written by agentcom: choose another name with --name" in said.err
    assert unit.read_text() == "[Service]\nExecStart=/bin/true\n"


def test_two_repositories_never_share_a_service(capfd, clone, noted, tmp_path: Path, monkeypatch) -> None:
    unit = _unit(tmp_path)
    unit.parent.mkdir(parents=True)
    unit.write_text("# agentcom-service-of: /srv/other/.git\n")
    said = call(capfd, "hub", "install")
    assert said.code == 1
    assert "belongs to /srv/other/.git" in said.err
    assert "nothing to take away" in call(capfd, "hub", "uninstall").out
    assert unit.exists()


def test_a_port_that_changes_is_refused(capfd, clone) -> None:
    said = call(capfd, "hub", "install", "--listen", "127.0.0.1:0")
    assert said.code == 64
    assert "port that stays the same" in said.err


def test_what_the_machine_config_says_goes_into_the_service(capfd, clone, tmp_path: Path) -> None:
    config = tmp_path / "hub.yaml"
    config.write_text(f"listen: 0.0.0.0:4100\nplain: true\ndata_dir: {tmp_path}/mail\n")
    said = call(capfd, "hub", "install", "--dry-run", "--system", "--run-as", "root", "--config", str(config), "--json")
    assert said.code == 0, said.err
    assert f'"hub" "--repo" "{clone.path}" "--config" "{config}"\n' in said.json["text"]
    assert f'ReadWritePaths="-{tmp_path}/mail"' in said.json["text"]


def test_an_address_at_which_the_hub_would_not_start_is_refused_at_once(capfd, clone) -> None:
    said = call(capfd, "hub", "install", "--listen", "0.0.0.0:4000", "--dry-run", "--manager", "systemd")
    assert (said.code, "--tls-cert" in said.err) == (78, True)


def test_options_of_the_hub_before_install_are_refused(capfd, clone) -> None:
    said = call(capfd, "hub", "--listen", "127.0.0.1:4001", "install")
    assert (said.code, "write options behind it" in said.err) == (64, True)


@pytest.mark.parametrize("name", ["Upper", "a/b", "-x"])
def test_a_name_that_is_none_is_refused(name, capfd, clone) -> None:
    assert call(capfd, "hub", "install", f"--name={name}", "--dry-run", "--manager", "systemd").code == 64


def test_a_service_is_not_installed_beside_a_hub_in_a_terminal(capfd, clone, noted, monkeypatch) -> None:
    monkeypatch.setattr("coordinator.reading.hub_runs", lambda ground: "http://127.0.0.1:4000")
    said = call(capfd, "hub", "install")
    assert (said.code, "stop that one first" in said.err) == (75, True)


def test_json_of_uninstall_names_what_was_found(capfd, clone, noted) -> None:
    said = call(capfd, "hub", "uninstall", "--json").json
    assert (said["found"], said["removed"]) == ([], [])
    assert json.dumps(said)


def test_uninstall_finds_the_service_whatever_it_is_called_and_so_does_agentcom_uninstall(
    capfd, clone, noted, tmp_path: Path
) -> None:
    unit = _unit(tmp_path, "my-own-name")
    unit.parent.mkdir(parents=True)
    unit.write_text(f"# agentcom-service-of: {clone.path}/.git\n")
    assert "agentcom hub uninstall --name my-own-name" in call(capfd, "uninstall").out
    assert "nothing to take away" in call(capfd, "hub", "uninstall", "--name", "another").out
    said = call(capfd, "hub", "uninstall")
    assert (said.code, unit.exists()) == (0, False)
    assert ["--user", "disable", "--now", "my-own-name.service"] in fakesystemctl.calls(noted)
