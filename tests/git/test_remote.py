"""Words with a real bare repository: what git's answers mean, and that nothing but tracking refs is written."""

import threading
from pathlib import Path

import pytest
from support.repo import Clone, make_bare, make_repo

from coordinator.git.remote import GitRemote
from coordinator.git.repo import STATE_REF
from coordinator.ports import End

FORGE = "#!/bin/sh\necho 'GitLab: You are not allowed to push code to protected branches.' >&2\nexit 1\n"


@pytest.fixture
def bare(tmp_path: Path) -> Clone:
    return Clone(make_bare(tmp_path / "remote.git"))


@pytest.fixture
def clone(tmp_path: Path, bare: Clone) -> Clone:
    made = make_repo(tmp_path / "repo", {"a.txt": "a\n"})
    made.git("remote", "add", "origin", str(bare.path))
    made.git("push", "--quiet", "origin", "main")
    return made


@pytest.fixture
def remote(clone: Clone) -> GitRemote:
    return GitRemote(clone.repo, "origin", "refs/heads/main", timeout=30)


def state(clone: Clone, parent: str, message: str = "state") -> str:
    return clone.git("commit-tree", "-p", parent, "-m", message, f"{parent}^{{tree}}")


def test_fetching_moves_the_tracking_ref_of_the_source_and_nothing_else(
    clone: Clone, bare: Clone, remote: GitRemote, tmp_path: Path
) -> None:
    other = Clone(tmp_path / "other")
    clone.git("clone", "--quiet", str(bare.path), str(other.path))
    other.git("config", "user.name", "Bo")
    other.git("config", "user.email", "bo@example.org")
    new = other.commit({"b.txt": "b\n"})
    other.git("tag", "v1")
    other.git("push", "--quiet", "origin", "main", "main:feature", "v1")
    before = clone.snapshot()
    answer = remote.fetch_source()
    assert (answer.end, answer.tip) == (End.DONE, new)
    assert clone.head("refs/remotes/origin/main") == new
    assert clone.snapshot() == before
    refs = clone.git("for-each-ref", "--format=%(refname)").splitlines()
    assert refs == ["refs/heads/main", "refs/remotes/origin/main"]
    assert not (clone.path / ".git" / "FETCH_HEAD").exists()


def test_a_rewritten_source_is_followed(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    remote.fetch_source()
    new = state(clone, clone.head(), "rewritten")
    clone.git("push", "--quiet", "--force", "origin", f"{new}:refs/heads/main")
    other = clone.git("commit-tree", "-m", "root", "HEAD^{tree}")
    clone.git("push", "--quiet", "--force", "origin", f"{other}:refs/heads/main")
    assert remote.fetch_source().tip == other


def test_a_source_that_is_gone_there_stays_as_it_was_here(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    tip = remote.fetch_source().tip
    bare.git("update-ref", "-d", "refs/heads/main")
    assert remote.fetch_source().end is End.GONE
    assert clone.head("refs/remotes/origin/main") == tip


def test_a_state_branch_that_is_gone_there_is_forgotten_here(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    assert remote.fetch_state().end is End.GONE
    remote.push_state(state(clone, clone.head()))
    assert remote.known_state() is not None
    bare.git("update-ref", "-d", STATE_REF)
    assert remote.fetch_state().end is End.GONE
    assert remote.known_state() is None


def test_a_push_goes_forward_and_says_what_was_there_before(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    first = state(clone, clone.head())
    second = state(clone, first)
    answer = remote.push_state(first)
    assert (answer.end, answer.tip, answer.before) == (End.DONE, first, "")
    answer = remote.push_state(second)
    assert answer.end is End.DONE
    assert answer.before
    assert first.startswith(answer.before)
    assert remote.push_state(second).before == second
    assert bare.head(STATE_REF) == second == remote.known_state()


def test_push_options_are_left_away_for_good_where_the_remote_does_not_take_them(
    clone: Clone, bare: Clone, remote: GitRemote
) -> None:
    hook = bare.path / "hooks" / "pre-receive"
    hook.write_text('#!/bin/sh\necho "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0" >> options\n')
    hook.chmod(0o755)
    first = state(clone, clone.head())
    assert remote.push_state(first).end is End.DONE
    bare.git("config", "receive.advertisePushOptions", "true")
    second = state(clone, first)
    assert remote.push_state(second).end is End.DONE
    third = state(clone, second)
    assert GitRemote(clone.repo, "origin", "refs/heads/main").push_state(third).end is End.DONE
    assert (bare.path / "options").read_text().splitlines() == ["0 ", "0 ", "1 ci.skip"]


def test_a_branch_that_somebody_else_moved_is_never_pushed_over(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    first = state(clone, clone.head())
    remote.push_state(first)
    theirs = state(clone, first, "by somebody else")
    clone.git("push", "--quiet", "origin", f"{theirs}:{STATE_REF}")
    clone.git("update-ref", "-d", "refs/remotes/origin/agentcom/state")
    for force in ("false", "true"):
        clone.git("config", "remote.origin.push", "+refs/heads/*:refs/heads/*")
        clone.git("config", "push.useForceIfIncludes", force)
        assert remote.push_state(state(clone, first, "ours")).end is End.BEHIND
    assert bare.head(STATE_REF) == theirs
    answer = remote.fetch_state()
    assert (answer.end, answer.tip) == (End.DONE, theirs)


def test_a_refusal_is_told_in_the_words_of_the_forge(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    hook = bare.path / "hooks" / "pre-receive"
    hook.write_text(FORGE)
    hook.chmod(0o755)
    answer = remote.push_state(state(clone, clone.head()))
    assert answer.end is End.REFUSED
    said = "GitLab: You are not allowed to push code to protected branches. (pre-receive hook declined)"
    assert answer.words == said


def test_a_remote_that_is_away_is_told_in_one_line(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    bare.path.rename(bare.path.with_name("away"))
    for answer in (remote.fetch_source(), remote.fetch_state(), remote.push_state(state(clone, clone.head()))):
        assert answer.end is End.AWAY
        assert "does not appear to be a git repository" in answer.words
        assert "\n" not in answer.words


def test_the_default_branch_is_what_the_head_of_the_remote_names(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    assert remote.default_branch() == "refs/heads/main"
    bare.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    clone.git("push", "--quiet", "origin", "main:trunk")
    assert remote.default_branch() == "refs/heads/trunk"
    bare.path.rename(bare.path.with_name("away"))
    assert remote.default_branch() is None


@pytest.mark.parametrize("address", ["git@forge.example:{path}", "ssh://git@forge.example{path}"])
def test_ssh_is_spoken_in_both_spellings_and_never_asks(
    clone: Clone, bare: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(
        "#!/bin/sh\n"
        f'echo "${{SSH_ASKPASS_REQUIRE}} ${{GIT_TERMINAL_PROMPT}} $*" >> {tmp_path}/asked\n'
        'while [ "$1" != git@forge.example ]; do shift; done\nshift\nexec sh -c "$*"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(ssh))
    clone.git("remote", "set-url", "origin", address.format(path=bare.path))
    remote = GitRemote(clone.repo, "origin", "refs/heads/main", timeout=30)
    assert remote.fetch_source().end is End.DONE
    assert remote.push_state(state(clone, clone.head())).end is End.DONE
    assert all(line.startswith("never 0 ") for line in (tmp_path / "asked").read_text().splitlines())


def test_other_protocols_are_shut_even_when_a_configuration_leads_there(clone: Clone, remote: GitRemote) -> None:
    clone.git("config", "remote.origin.url", "ext::sh -c 'touch evil'")
    clone.git("config", "protocol.ext.allow", "always")
    assert remote.fetch_source().end is End.AWAY
    assert not (clone.path / "evil").exists()


@pytest.mark.slow
def test_a_call_that_hangs_ends_when_it_is_given_up(clone: Clone, bare: Clone, remote: GitRemote) -> None:
    hook = bare.path / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\ntouch hanging\nsleep 60\n")
    hook.chmod(0o755)
    answers = []
    pushing = threading.Thread(target=lambda: answers.append(remote.push_state(state(clone, clone.head()))))
    pushing.start()
    while not (bare.path / "hanging").exists():
        pushing.join(0.01)
    remote.give_up()
    pushing.join(20)
    assert [answer.end for answer in answers] == [End.AWAY]


@pytest.mark.slow
def test_a_call_out_of_time_ends_by_itself(clone: Clone, bare: Clone) -> None:
    hook = bare.path / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nsleep 60\n")
    hook.chmod(0o755)
    answer = GitRemote(clone.repo, "origin", "refs/heads/main", timeout=1).push_state(state(clone, clone.head()))
    assert answer.end is End.AWAY
    assert "took longer than 1 s" in answer.words
