"""How hub and sidecars are written down for systemd, launchd and pm2."""

import json
import os
import plistlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from coordinator.services import launchd, ours, pm2, systemd
from coordinator.services.systemd import Scope
from coordinator.services.values import Service, Unfit, owner_of, slug

_ODD = 'a b\'s 100% of $HOME; "x" --y'
USER = Scope(Path("/units"))
SYSTEM = Scope(Path("/units"), "ada")


def _hub(folder: Path) -> Service:
    return ours.hub(folder / ".git", folder, ("--listen", "127.0.0.1:4000"), "/usr/bin:/bin")


def _sidecar(folder: Path) -> Service:
    return ours.sidecar(folder / "config.yaml", "loash", 15.0, "/usr/bin:/bin")


@pytest.mark.parametrize("scope", [USER, SYSTEM], ids=["user", "system"])
@pytest.mark.parametrize("made", [_hub, _sidecar])
@pytest.mark.parametrize("name", ["project", _ODD])
def test_systemd_finds_nothing_to_complain_about(scope, made, name, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed here")
    folder = tmp_path / name
    folder.mkdir()
    unit = tmp_path / "agentcom-test.service"
    # that the user of a system unit exists is nothing that this test is about
    unit.write_text(systemd.render(made(folder), replace(scope, user=scope.user and "root")), encoding="utf-8")
    argv = ["systemd-analyze", *(("--user",) if scope.user is None else ()), "verify", "--man=no", str(unit)]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    complaints = [line for line in done.stderr.splitlines() if "agentcom-test" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


def test_a_unit_starts_this_interpreter_and_is_watched_over(tmp_path: Path) -> None:
    lines = systemd.render(_hub(tmp_path), USER).splitlines()
    for line in ("Type=notify", "WatchdogSec=60", "Restart=on-failure", "KillMode=mixed", "NoNewPrivileges=yes"):
        assert line in lines
    assert "RestartPreventExitStatus=64 66 75 78" in lines
    assert not [line for line in lines if line.startswith(("User=", "Protect", "CapabilityBoundingSet"))]


def test_a_unit_of_the_machine_names_its_user_and_is_shut_in_further(tmp_path: Path) -> None:
    lines = systemd.render(_hub(tmp_path), SYSTEM).splitlines()
    assert {"User=ada", "ProtectSystem=full", "ProtectKernelModules=yes", "WantedBy=multi-user.target"} <= set(lines)
    assert f'ReadWritePaths="-{tmp_path}/.git"' in lines


@pytest.mark.parametrize("scope", [USER, SYSTEM])
def test_nothing_takes_from_an_agents_programs_what_they_need(scope, tmp_path: Path) -> None:
    text = systemd.render(_sidecar(tmp_path), scope)
    for ban in (
        "PrivateTmp ProtectHome RestrictNamespaces MemoryDenyWriteExecute PrivateDevices ProtectClock SystemCallFilter "
        "RestrictSUIDSGID ProtectKernelTunables ProtectControlGroups RestrictAddressFamilies UMask LimitCORE"
    ).split():
        assert ban not in text, ban
    assert "KillMode=process" in text, "an agent that was woken goes on while its sidecar is started anew"
    assert "OOMPolicy=continue" in text, "a child that ran out of memory ends its attempt and not the sidecar"


def test_no_word_of_a_command_means_anything_to_systemd(tmp_path: Path) -> None:
    service = replace(_hub(tmp_path), argv=("/bin/x", "$HOME", "100%", 'a "b"', "back\\slash", ";"))
    (line,) = [line for line in systemd.render(service, USER).splitlines() if line.startswith("ExecStart=")]
    assert line == r'ExecStart="/bin/x" "$$HOME" "100%%" "a \"b\"" "back\\slash" ";"'


@pytest.mark.parametrize("name", ["project", _ODD, "new--line"])
def test_every_file_says_whose_it_is(name, tmp_path: Path) -> None:
    service = _hub(tmp_path / name)
    texts = (systemd.render(service, USER), launchd.render(service, tmp_path), pm2.render(service))
    assert {owner_of(text) for text in texts} == {str(tmp_path / name / ".git")}


def test_a_file_that_is_not_ours_belongs_to_nobody() -> None:
    assert owner_of("[Unit]\nDescription=something else\n") is None


def test_the_property_list_is_one_and_says_the_same(tmp_path: Path) -> None:
    service = _sidecar(tmp_path / _ODD)
    said = plistlib.loads(launchd.render(service, tmp_path).encode())
    assert said["Label"] == "org.agentcom.agentcom-sidecar-loash"
    assert tuple(said["ProgramArguments"]) == service.argv
    assert said["KeepAlive"] == {"SuccessfulExit": False}
    assert said["ExitTimeOut"] == 45


def test_the_ecosystem_file_is_a_module_and_says_the_same(tmp_path: Path) -> None:
    service = _sidecar(tmp_path / _ODD)
    _, _, body = pm2.render(service).partition("module.exports = ")
    (app,) = json.loads(body.rstrip().removesuffix(";"))["apps"]
    assert (app["script"], *app["args"]) == service.argv
    assert app["stop_exit_codes"] == [0, 64, 66, 75, 78]
    assert app["treekill"] is False, "the sidecar itself ends what it started"


@pytest.mark.parametrize("wrong", ["two\nlines", "bell\a"])
def test_a_path_that_cannot_stand_in_a_unit_is_refused(wrong, tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="rename it"):
        _sidecar(tmp_path / wrong)


def test_a_folder_becomes_a_name() -> None:
    assert slug("My Project (2)") == "my-project-2"
    assert slug("日本") == "repository"
