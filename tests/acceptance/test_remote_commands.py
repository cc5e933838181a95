"""``agentcom hub --remote`` as people type it: what it says, how it ends, what other commands show beside it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import Said, call
from support.hubprocess import HubProcess
from support.repo import Clone, git_env, make_bare, make_repo

from coordinator.git.repo import STATE_REF

pytestmark = pytest.mark.slow

ONE = "# Backlog\n\n## Ready\n\n- [ ] one\n"


@pytest.fixture(autouse=True)
def no_machine_git_config(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENTCOM_HUB", "AGENTCOM_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def bare(tmp_path: Path) -> Clone:
    return Clone(make_bare(tmp_path / "remote.git"))


@pytest.fixture
def person(tmp_path: Path, bare: Clone) -> Clone:
    made = make_repo(tmp_path / "person", {"BACKLOG.md": ONE})
    made.git("remote", "add", "origin", str(bare.path))
    made.git("push", "--quiet", "-u", "origin", "main")
    return made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    return lambda *argv: call(capfd, *argv)


def test_a_person_pushes_waits_and_reads_how_far_the_remote_is(tmp_path: Path, bare: Clone, person: Clone, run) -> None:
    place = str(tmp_path / "hub")
    with HubProcess(tmp_path / "hub", ("--remote", str(bare.path))) as hub:
        assert hub.ready, hub.said
        tip = person.commit({"BACKLOG.md": ONE + "- [ ] two\n"})
        person.git("push", "--quiet")
        said = run("reconcile", "--repo", place)
        assert (said.code, said.out) == (0, f"observed {tip[:10]} of main\n"), said.err
        shown = run("status", "--repo", place)
        assert f"remote: origin ({bare.path}): fetched " in shown.out
        assert "2 queued" in shown.out
        refused = run("pull", "--repo", place)
        assert refused.code == 1
        assert "the hub works with a remote: the trail is `git log origin/agentcom/state`" in refused.err
    assert hub.said.count("Traceback") == 0
    state = Clone(tmp_path / "hub").head(STATE_REF)
    assert bare.head(STATE_REF) == state, "what is left is pushed at the end"
    shown = run("status", "--repo", place)
    assert shown.out.startswith("hub not running")
    assert f"remote: origin ({bare.path}): everything pushed\n" in shown.out


def test_words_in_the_clone_of_the_hub_say_that_they_must_be_pushed(
    tmp_path: Path, bare: Clone, person: Clone, run
) -> None:
    place = str(tmp_path / "hub")
    with HubProcess(tmp_path / "hub", ("--remote", str(bare.path))) as hub:
        clone = Clone(tmp_path / "hub")
        clone.git("config", "user.name", "Bo")
        clone.git("config", "user.email", "bo@example.org")
        said = run("add", "three", "--repo", place)
        assert said.code == 0, said.err
        assert "the hub reads origin: `git push origin main`" in said.out
        assert "main has 1 commit that is not pushed" in run("status", "--repo", place).out
        assert run("task", "new", "four", "--repo", place, "--push").code == 0
        assert run("reconcile", "--repo", place).code == 0
        assert "main has" not in run("status", "--repo", place).out
        titles = [task["title"] for task in run("task", "list", "--repo", place, "--json").json["tasks"]]
        assert sorted(titles) == ["four", "one", "three"]
        assert run("task", "hold", "--repo", place, "--push", hub.client.get("/api/tasks")["tasks"][0]["id"]).code == 0
        assert run("reconcile", "--repo", place).code == 0
    assert run("compile", "--check", "--repo", place).code == 0


def test_a_remote_that_is_away_is_told_by_reconcile_and_by_status(
    tmp_path: Path, bare: Clone, person: Clone, run
) -> None:
    place = str(tmp_path / "hub")
    with HubProcess(tmp_path / "hub", ("--remote", str(bare.path))):
        bare.path.rename(tmp_path / "away.git")
        said = run("reconcile", "--repo", place)
        assert said.code == 1
        assert "origin could not be asked: " in said.err
        assert "observed so far: " in said.err
        assert "origin: cannot be reached: " in run("status", "--repo", place).out
        (tmp_path / "away.git").rename(bare.path)
        assert run("reconcile", "--repo", place, "--wait", "30").code == 0


def test_a_hub_that_was_claimed_away_ends_and_names_the_other_one_and_the_way_out(
    tmp_path: Path, bare: Clone, person: Clone, run
) -> None:
    one = HubProcess(tmp_path / "one", ("--remote", str(bare.path))).start()
    two = HubProcess(tmp_path / "two", ("--remote", str(bare.path))).start()
    assert one.ready, one.said
    assert two.ready, two.said
    name = (tmp_path / "two" / ".git" / "agentcom" / "hub-id").read_text().strip()
    person.commit({"BACKLOG.md": ONE + "- [ ] two\n"})
    person.git("push", "--quiet")
    assert run("reconcile", "--repo", str(tmp_path / "one")).code == 0
    assert one.ended() == 75
    assert f"by another hub (epoch 2/{name})" in one.said
    assert "`agentcom hub --take-over`" in one.said
    again = HubProcess(tmp_path / "one").start()
    assert not again.ready
    assert again.ended() == 75
    assert two.stop() == 0
    over = HubProcess(tmp_path / "one", ("--take-over",)).start()
    assert over.ready, over.said
    assert over.stop() == 0


def test_a_remote_that_hangs_holds_no_hub_back_at_its_end(tmp_path: Path, bare: Clone, person: Clone, run) -> None:
    with HubProcess(tmp_path / "hub", ("--remote", str(bare.path))):
        hook = bare.path / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\ntouch hanging\nsleep 300\n")
        hook.chmod(0o755)
        person.commit({"BACKLOG.md": ONE + "- [ ] two\n"})
        bare.git("fetch", "--quiet", str(person.path), "main:main")
        assert run("reconcile", "--repo", str(tmp_path / "hub")).code == 0
    assert (bare.path / "hanging").exists()
    hook.unlink()
    with HubProcess(tmp_path / "hub") as hub:
        assert hub.ready, hub.said


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--remote", "http://ada:s3cret@example.org/x"), 78, "http:// is not spoken here"),
        (("--remote", "/nowhere/at/all.git"), 1, "cannot be cloned"),
        (("--remote", "none"), 66, "not inside a git repository"),
    ],
)
def test_a_remote_that_cannot_be_is_refused_in_one_line_without_its_secret(
    tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    hub = HubProcess(tmp_path / "hub", options).start()
    assert not hub.ready
    assert hub.ended() == code
    assert words in hub.said
    assert "s3cret" not in hub.said
    assert len(hub.said.splitlines()) == 1
    assert not (tmp_path / "hub").exists()


def test_a_clone_inside_another_repository_is_refused(tmp_path: Path, bare: Clone, person: Clone) -> None:
    hub = HubProcess(person.path / "hub", ("--remote", str(bare.path))).start()
    assert hub.ended() == 66
    assert "would lie inside the repository" in hub.said


def test_a_secret_in_the_address_is_shown_nowhere(tmp_path: Path, bare: Clone, person: Clone, run) -> None:
    secret = "https://ada:s3cret@127.0.0.1:1/x.git"
    with HubProcess(person.path, ("--remote", str(bare.path))):
        pass
    person.git("remote", "set-url", "origin", secret)
    hub = HubProcess(person.path)
    with hub:
        assert hub.ready, hub.said
        assert run("reconcile", "--repo", str(person.path)).code == 1
        shown = run("status", "--repo", str(person.path)).out + run("status", "--json", "--repo", str(person.path)).out
    shown += hub.said + run("status", "--json", "--repo", str(person.path)).out
    assert "https://127.0.0.1:1/x.git" in shown
    assert "s3cret" not in shown
    listed = subprocess.run(["git", "log", "-p", STATE_REF], cwd=person.path, env=git_env(), capture_output=True)
    assert b"s3cret" not in listed.stdout
