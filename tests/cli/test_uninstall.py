"""Init makes git settings where there are none, and uninstall takes exactly those back."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import Said
from support.repo import Clone
from support.statebranch import hub_writes

from coordinator.git.lock import HubLock
from coordinator.git.settings import WANTED

Run = Callable[..., Said]


def config(clone: Clone) -> str:
    return (clone.path / ".git/config").read_text(encoding="utf-8")


def values(clone: Clone) -> dict[str, str]:
    return {key: clone.git("config", "--get", key, check=False) for key in WANTED}


def test_init_says_and_makes_the_settings_and_uninstall_takes_them_back_to_the_byte(clone: Clone, run: Run) -> None:
    before = values(clone)
    said = run("init").out
    assert values(clone) == {key: value for key, (value, _) in WANTED.items()}
    for key, (value, why) in WANTED.items():
        assert f"{key} {value}" in " ".join(said.split())
        assert why in said
    assert "agentcom uninstall" in said
    again = run("init").out
    assert "git config" not in again
    assert again.startswith("nothing to do in ")
    out = run("uninstall").out
    assert "unset in git config: core.fsync, fetch.unpackLimit, gc.auto" in out
    assert values(clone) == before == dict.fromkeys(WANTED, "")
    assert run("uninstall").out.startswith("there was nothing to take back")


def test_what_a_person_set_otherwise_stays_and_is_said(
    clone: Clone, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = tmp_path / "gitconfig"
    everywhere.write_text("[gc]\n\tpruneExpire = never\n[receive]\n\tautogc = off\n", encoding="utf-8")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(everywhere))
    clone.git("config", "gc.auto", "100")
    said = run("init", "--json").json["config"]
    assert said["yours"] == {"gc.auto": "100", "gc.pruneExpire": "never"}
    assert said["set"].keys() == WANTED.keys() - {"gc.auto", "gc.pruneExpire", "receive.autogc"}
    assert clone.git("config", "gc.auto") == "100"
    assert "git config gc.auto is 100, as you set it, and stays" in run("init").out
    run("uninstall")
    assert clone.git("config", "gc.auto") == "100"
    assert everywhere.read_text(encoding="utf-8").count("never") == 1


def test_a_setting_that_was_changed_since_init_stays_and_is_said(clone: Clone, run: Run) -> None:
    run("init")
    clone.git("config", "gc.auto", "6700")
    said = run("uninstall", "--json").json
    assert said["changed"] == {"gc.auto": "6700"}
    assert "gc.auto" not in said["unset"]
    assert clone.git("config", "gc.auto") == "6700"


def test_a_setting_equal_to_ours_that_was_there_before_stays(clone: Clone, run: Run) -> None:
    clone.git("config", "gc.auto", "0")
    run("init")
    run("uninstall")
    assert clone.git("config", "gc.auto") == "0"


def test_the_record_of_init_keeps_what_else_it_holds(clone: Clone, run: Run) -> None:
    run("init")
    record = clone.path / ".git/agentcom/init.json"
    before = json.loads(record.read_text(encoding="utf-8"))
    run("uninstall")
    after = json.loads(record.read_text(encoding="utf-8"))
    assert {**before, "config": {}} == after
    assert after["source"] == "refs/heads/main"
    assert after["backlog"]


def test_the_hook_goes_and_files_commits_and_trail_stay(clone: Clone, run: Run) -> None:
    run("init")
    run("install-hook")
    hub_writes(clone, "status/open/t-1.yaml")
    mine = clone.snapshot()
    tip = clone.head("agentcom/state")
    clone.git("update-ref", "refs/agentcom/backup", tip)
    clone.git("config", "agentcom.remote", "upstream")
    out = run("uninstall").out
    assert f"removed: {clone.path / '.git/hooks/pre-commit'}" in out
    assert not (clone.path / ".git/hooks/pre-commit").exists()
    assert clone.snapshot() == mine
    assert clone.head("agentcom/state") == tip
    assert "git branch -D agentcom/state" in out
    assert "git update-ref -d refs/agentcom/backup" in out
    assert re.search("the remote of the hub, upstream +git config --unset agentcom.remote\n", out)
    assert f"rm -r {clone.path / '.git/agentcom'}" in out


def test_a_hook_of_the_persons_stays_and_is_named_only_if_it_runs_agentcom(clone: Clone, run: Run) -> None:
    hook = clone.path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nmake lint\n", encoding="utf-8")
    assert "hooks" not in run("uninstall").out
    hook.write_text("#!/bin/sh\npython3 -E -P -m coordinator validate --staged || exit 1\n", encoding="utf-8")
    assert "take what names agentcom out of it by hand" in run("uninstall").out
    assert hook.exists()


def test_a_hook_that_other_repositories_run_stays(clone: Clone, run: Run, tmp_path: Path) -> None:
    clone.git("config", "core.hooksPath", str(tmp_path / "hooks"))
    run("install-hook")
    assert "other repositories run it too" in run("uninstall").out
    assert (tmp_path / "hooks/pre-commit").exists()


def test_a_running_hub_is_named_and_nothing_is_taken_back(clone: Clone, run: Run) -> None:
    run("init")
    before = config(clone)
    with HubLock(clone.repo):
        said = run("uninstall")
    assert said.code == 75
    assert "stop that one first" in said.err
    assert config(clone) == before


def test_where_agentcom_never_was_nothing_is_made(clone: Clone, run: Run) -> None:
    said = run("uninstall", "--json").json
    assert (said["unset"], said["hook"], said["left"]) == ([], None, [])
    assert not (clone.path / ".git/agentcom").exists()


def test_outside_of_a_repository_one_line_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("uninstall").code == 66
