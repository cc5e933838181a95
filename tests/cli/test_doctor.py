"""``agentcom doctor``: every line is true, --fix does only what is safe, and the bundle opens nothing."""

import json
import os
import sqlite3
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.cli import Said
from support.hubprocess import HubProcess
from support.repo import lose

from coordinator import __version__
from coordinator.doctor import running, surroundings
from coordinator.doctor.bundle import clean
from coordinator.doctor.findings import Level
from coordinator.place import Place


def _found(said: Said, check: str) -> list[tuple[str, str]]:
    return [(one["level"], one["text"]) for one in said.json["findings"] if one["check"] == check]


def _levels(said: Said) -> dict[str, str]:
    """Return the worst level of each check."""
    order = ["ok", "warn", "bad"]
    worst: dict[str, str] = {}
    for one in said.json["findings"]:
        worst[one["check"]] = max(worst.get(one["check"], "ok"), one["level"], key=order.index)
    return worst


@pytest.fixture
def place(clone) -> Place:
    return Place(clone.repo.agentcom_dir)


def test_a_new_repository_is_well_and_says_that_no_hub_runs(run, clone) -> None:
    assert run("init").code == 0
    said = run("doctor", "--json")
    assert (said.code, said.json["well"]) == (0, True)
    assert {check for check, level in _levels(said).items() if level != "ok"} == {"hub"}
    checks = "python git packages repo config permissions disk locks hub service remote agents size objects worktrees"
    assert set(_levels(said)) == set(checks.split())


def test_each_line_that_is_not_well_says_what_to_do(run, clone) -> None:
    said = run("doctor")
    lines = said.out.splitlines()
    for number, line in enumerate(lines):
        if line.startswith(("warn", "bad")):
            assert lines[number + 1].lstrip().startswith("-> "), line


def test_where_there_is_no_repository_the_machine_is_examined_all_the_same(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said = run("doctor", "--json")
    assert said.code == 1
    assert _levels(said) == {"python": "ok", "git": "ok", "packages": "ok", "repo": "bad"}


@pytest.mark.slow
def test_a_running_hub_is_asked_for_its_version_and_its_clock(run, clone) -> None:
    run("init")
    with HubProcess(clone.path) as hub:
        said = run("doctor", "--json")
        assert said.code == 0
        ((level, text),) = _found(said, "hub")
        assert (level, text.startswith(f"{hub.url} answers, version {__version__}")) == ("ok", True)
        assert _found(said, "clock") == [("ok", "the same as the hub's")]
        hub.kill()
        dead = run("doctor", "--json")
        assert "died without a goodbye" in _found(dead, "hub")[0][1]
    mended = run("doctor", "--fix", "--json")
    assert [line for line in mended.json["fixed"] if "hub.json" in line]
    assert _found(mended, "hub") == [("warn", "no hub runs here")]


def test_what_a_dead_hub_left_is_kept_while_another_one_has_the_repository(run, clone, place) -> None:
    from coordinator.git.lock import HubLock

    run("init")
    place.folder.mkdir(exist_ok=True)
    (place.folder / "hub.json").write_text('{"url": "http://127.0.0.1:9", "pid": 999999999, "hub_id": "h-1"}')
    with HubLock(clone.repo):
        said = run("doctor", "--fix", "--json")
    assert said.json["fixed"] == []
    assert (place.folder / "hub.json").exists()


def test_a_hub_that_was_named_and_does_not_answer_is_bad(run, clone, monkeypatch) -> None:
    assert run("doctor", "--hub", "http://127.0.0.1:9").code == 1
    monkeypatch.setenv("AGENTCOM_HUB", "http://127.0.0.1:9")
    said = run("doctor", "--json")
    assert (said.code, _levels(said)["hub"]) == (1, "bad")


def test_a_token_that_others_can_read_is_bad_and_mended(run, clone, place) -> None:
    place.admin_token()
    (place.folder / "admin.token").chmod(0o644)
    said = run("doctor", "--json")
    assert (said.code, _levels(said)["permissions"]) == (1, "bad")
    mended = run("doctor", "--fix", "--json")
    assert (mended.code, len(mended.json["fixed"])) == (0, 2), "the token, and git's settings"
    assert (place.folder / "admin.token").stat().st_mode & 0o777 == 0o600


def test_git_settings_are_made_by_fix_and_taken_back_by_uninstall(run, clone) -> None:
    assert run("doctor", "--fix").code == 0
    assert clone.git("config", "gc.auto") == "0"
    assert run("uninstall").code == 0
    assert clone.git("config", "gc.auto", check=False) == ""


def test_without_fix_nothing_is_written(run, clone, place) -> None:
    run("init")
    place.admin_token()
    (place.folder / "admin.token").chmod(0o644)
    before = {path: path.read_bytes() for path in sorted((clone.path / ".git").rglob("*")) if path.is_file()}
    assert run("doctor").code == 1
    assert {path: path.read_bytes() for path in sorted((clone.path / ".git").rglob("*")) if path.is_file()} == before


def test_a_wrong_agentcom_yaml_is_bad_and_named_with_its_place(run, clone) -> None:
    clone.commit({"agentcom.yaml": "timeouts: {accept: soon}\n"})
    said = run("doctor", "--json")
    assert said.code == 1
    assert next(text for level, text in _found(said, "config") if level == "bad").startswith("agentcom.yaml:1:")


def test_a_lock_that_a_dead_git_left_is_named_and_a_young_one_is_not(run, clone) -> None:
    lock = clone.path / ".git/index.lock"
    lock.touch()
    assert _levels(run("doctor", "--json"))["locks"] == "ok"
    old = time.time() - 3600
    os.utime(lock, (old, old))
    said = run("doctor", "--fix", "--json")
    assert [level for level, _ in _found(said, "locks")] == ["warn"]
    assert lock.exists(), "it is a person's to remove"


def test_a_work_tree_on_the_hubs_branch_is_named_with_the_way_off_it(run, clone, tmp_path) -> None:
    clone.git("branch", "agentcom/state")
    clone.git("worktree", "add", "--quiet", str(tmp_path / "there"), "agentcom/state")
    said = run("doctor", "--json")
    (one,) = [one for one in said.json["findings"] if one["check"] == "worktrees"]
    assert (one["level"], one["advice"]) == ("warn", f"git -C {tmp_path / 'there'} switch main")


def test_a_damaged_object_is_bad(run, clone) -> None:
    lose(clone, clone.head("HEAD:a.txt"))
    said = run("doctor", "--json")
    assert said.code == 1
    assert "main is damaged" in _found(said, "objects")[0][1]


def test_a_remote_that_does_not_answer_is_bad_and_shows_no_password(run, clone, tmp_path) -> None:
    clone.git("remote", "add", "origin", f"file://{tmp_path}/gone.git")
    clone.git("config", "agentcom.remote", "origin")
    said = run("doctor", "--json")
    assert said.code == 1
    assert "does not answer" in _found(said, "remote")[0][1]


def test_an_agent_of_whom_nothing_was_heard_for_long_is_stale(run, clone, monkeypatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
    run("agent", "add", "loash")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    run("agent", "add", "gcu")
    texts = [text for level, text in _found(run("doctor", "--json"), "agents") if level == "warn"]
    assert len(texts) == 1
    assert texts[0].startswith("loash is offline, and nothing was heard of it for 30 days")


@pytest.mark.slow
def test_a_service_that_is_installed_and_does_not_run_is_bad(run, clone, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    unit = tmp_path / "config/systemd/user/my-own-name.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"# agentcom-service-of: {clone.path}/.git\n")
    said = run("doctor", "--json")
    assert (said.code, _levels(said)["service"]) == (1, "bad")
    assert "my-own-name is installed (systemd) and does not run" in _found(said, "service")[0][1]


# --- judgements -----------------------------------------------------------------------------------------------------


def _summary(**more: Any) -> dict[str, Any]:
    said = {"version": __version__, "started_at": "2026-01-01T00:00:00Z", "epoch": 1, "problems": [], "remote": None}
    return said | more


class _Client:
    url = "http://127.0.0.1:4000"


def _judged(**more: Any) -> list[tuple[Level, str]]:
    return [(one.level, one.check) for one in running._said(_Client(), _summary(**more))]  # type: ignore[arg-type]


def test_a_hub_that_is_read_only_is_bad_and_one_of_another_version_a_warning() -> None:
    assert _judged() == [(Level.OK, "hub")]
    assert (Level.BAD, "hub") in _judged(read_only="the disk is full")
    assert (Level.WARN, "hub") in _judged(version="0.0.1")


def test_what_housekeeping_says_is_told_as_its_own() -> None:
    trouble = {"path": "housekeeping", "what": "repack failed", "hint": "make room"}
    assert (Level.WARN, "housekeeping") in _judged(problems=[trouble])


def test_a_trail_that_is_not_pushed_for_long_is_a_warning() -> None:
    long_ago = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()
    lag = {"unpushed_since": long_ago, "unpushed": 4, "notice": "refused"}
    assert (Level.WARN, "remote") in _judged(remote=lag)
    assert (Level.WARN, "remote") not in _judged(remote=lag | {"unpushed_since": datetime.now(UTC).isoformat()})


@pytest.mark.parametrize(
    ("off", "took", "level"), [(0.3, 0.0, "ok"), (-8, 0.1, "warn"), (8, 9, "ok"), (400, 0.1, "bad"), (-400, 0, "bad")]
)
def test_clocks_are_judged_by_no_more_than_can_be_known(off: float, took: float, level: str) -> None:
    (finding,) = running._clock(off, took)
    assert finding.level == level


@pytest.mark.parametrize(("free", "level"), [(1 << 20, "bad"), (500 << 20, "warn"), (9 << 30, "ok")])
def test_the_disk_is_judged_by_what_is_free(free, level, run, clone, monkeypatch) -> None:
    class Usage:
        def __init__(self) -> None:
            self.free = free

    monkeypatch.setattr(surroundings.shutil, "disk_usage", lambda _: Usage())
    assert _levels(run("doctor", "--json"))["disk"] == level


def test_an_old_git_is_bad(monkeypatch) -> None:
    monkeypatch.setattr(surroundings, "git", lambda *_: b"git version 2.30.1 (Apple Git-130)\n")
    assert surroundings._git().level is Level.BAD


# --- the bundle -----------------------------------------------------------------------------------------------------

#: Pieces, so that this file does not hold what a secret scanner looks for.
CANARIES = {
    "url": "canary-url-pass-4711",
    "header": "canary-header-0815",
    "env": "canary-env-112233",
    "insteadof": "canary-insteadof-99",
    "mail": "canary-mail-text-31",
    "github": "ghp" + "_" + "c4N4" * 10,
}


@pytest.mark.slow
def test_no_secret_gets_into_the_bundle(run, clone, place, tmp_path, monkeypatch) -> None:
    run("init")
    token = run("agent", "add", "loash", "--json").json["token"]
    clone.commit({"agentcom.yaml": "retries: {max: 1}\n"}, f"Use {CANARIES['github']}, password={CANARIES['env']}")
    clone.git("remote", "add", "origin", f"https://ada:{CANARIES['url']}@forge.invalid/p.git")
    clone.git("config", "http.https://forge.invalid/.extraheader", f"Authorization: Basic {CANARIES['header']}")
    clone.git("config", f"url.https://x:{CANARIES['insteadof']}@forge.invalid/.insteadOf", "forge:")
    with HubProcess(clone.path) as hub:
        admin = hub.token
        with sqlite3.connect(place.folder / "mail.db") as mail:
            mail.execute("create table canary (text)")
            mail.execute("insert into canary values (?)", (CANARIES["mail"],))
        mail.close()
        monkeypatch.setenv("AGENTCOM_V1_TOKEN", CANARIES["env"])
        said = run("doctor", "--bundle", str(tmp_path / "support.zip"))
    assert said.code == 0, said.out
    bundle = tmp_path / "support.zip"
    assert bundle.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(bundle) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    whole = "\n".join(parts.values())
    for name, canary in {**CANARIES, "agent token": token, "admin token": admin}.items():
        assert canary not in whole, name
    assert {Path(name).name for name in parts} == set(
        "README.txt doctor.json hub-status.json agentcom.yaml git-config.txt refs.txt objects.txt trail.txt hub.json "
        "service.log".split()
    )
    assert json.loads(parts["agentcom-support/hub-status.json"])["version"] == __version__
    assert "retries: {max: 1}" in parts["agentcom-support/agentcom.yaml"]
    assert "forge.invalid/p.git" in parts["agentcom-support/git-config.txt"]
    assert "hub h-" in parts["agentcom-support/trail.txt"]


def test_a_bundle_is_made_where_there_is_no_repository_and_in_a_broken_one(run, clone, tmp_path, monkeypatch) -> None:
    lose(clone, clone.head("HEAD:a.txt"))
    assert run("doctor", "--bundle", str(tmp_path / "broken.zip")).code == 1
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert run("doctor", "--bundle", str(tmp_path / "none.zip")).code == 1
    with zipfile.ZipFile(tmp_path / "none.zip") as archive:
        assert len(archive.namelist()) == 2


def test_a_bundle_that_cannot_be_written_is_one_line(run, clone, tmp_path) -> None:
    said = run("doctor", "--bundle", str(tmp_path / "no/where.zip"))
    assert (said.code, said.err.count("\n")) == (1, 1)


def test_secrets_are_taken_out_whatever_they_look_like_when_they_are_known() -> None:
    assert clean("it is plain-old-token here", ("plain-old-token",)) == "it is [redacted] here"
    assert clean('{"token": "plain-old-token"}') == '{"token": "[redacted]"}'
    assert clean("https://ada:pass@host/x") == "https://host/x"
    assert "abcdefghijk" not in clean("Authorization: Bearer abcdefghijk")


def test_a_machine_config_with_which_no_hub_starts_is_bad(run, clone, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "agentcom").mkdir()
    (tmp_path / "agentcom/hub.yaml").write_text("lissten: 127.0.0.1:4000\n")
    said = run("doctor", "--json")
    assert said.code == 1
    assert [text for level, text in _found(said, "config") if level == "bad" and "hub.yaml:1:1" in text]
