"""Words of agents and people that play with terminals, trailers or options: harmless in git and on screen."""

import json
import subprocess
from collections.abc import Callable

import pytest
from support.cli import Said
from support.hubs import look, open_tasks, running
from support.repo import Clone, git_env

from coordinator.core.agent import Session
from coordinator.core.events import Connected
from coordinator.core.events import Said as Word
from coordinator.web.translate import word_of
from coordinator.wire import frames

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[1A\x9b31m\x7f"
TRAILERS = "\n\nAgentcom-Task: t-evil\nAgentcom-Epoch: 99/h-evil0000\nAgentcom-Confirm: all\n---\nAgentcom-Event: done"
HOSTILE = f"--upload-pack=evil {ESCAPES} \u202egnihton\u2028{TRAILERS}"
TOKEN = "ac_" + "Ab1-" * 10 + "xyz"

SHELL = "$(touch owned) `touch owned`; touch owned"
OPTIONS = ("--output=owned", "-n1", "--exec=touch owned", "../../etc/passwd", "HEAD:BACKLOG.md", "$(touch owned)")
AGENT = "name: loash\ncapabilities: []\n"


def trailers(clone: Clone, commit: str) -> list[str]:
    message = clone.git("log", "-1", "--format=%B", commit)
    argv = ["git", "interpret-trailers", "--parse", "--no-divider"]
    return subprocess.run(argv, input=message, capture_output=True, text=True, check=True, env=git_env()).stdout.split(
        "\n"
    )


async def worked(clone: Clone, frame: frames.ToHub | None, *more: frames.ToHub) -> str:
    """Let an agent take the first task and say these frames about it; return its id."""
    async with running(clone) as hub:
        await look(hub)
        await hub.settle(Connected("loash", Session("s1", (), frozenset(), frozenset())))
        (task,) = open_tasks(hub).values()
        for said in (frames.TaskAccepted(task_id=task.id), *([frame] if frame else []), *more):
            word = word_of(said.model_copy(update={"task_id": task.id}))
            assert word is not None
            await hub.settle(Word("loash", "s1", word))
        return task.id


@pytest.fixture
def with_agent(clone: Clone) -> Clone:
    clone.commit({"agents/loash.yaml": AGENT})
    return clone


@pytest.mark.parametrize(
    "frame",
    [
        frames.TaskComplete(
            task_id="t", generation=1, result={"status": "success", "summary": HOSTILE, HOSTILE: [HOSTILE]}
        ),
        frames.TaskFailed(task_id="t", generation=1, error=HOSTILE, output_tail=HOSTILE),
        frames.TaskBlocked(task_id="t", generation=1, question=HOSTILE),
        frames.TaskRejected(task_id="t", generation=1, reason=HOSTILE),
    ],
)
async def test_what_an_agent_says_fakes_nothing(
    with_agent: Clone, run: Callable[..., Said], frame: frames.ToHub
) -> None:
    task_id = await worked(with_agent, frame)
    for commit in with_agent.git("rev-list", "--first-parent", "agentcom/state").split():
        known = [line for line in trailers(with_agent, commit) if line]
        assert not [line for line in known if "evil" in line or "Confirm" in line], known
        said = with_agent.git("log", "-1", "--format=%an%n%ae%n%cn%n%ce%n%B", commit)
        assert all(line.isprintable() for line in said.split("\n")), said
    for argv in (["status"], ["log"], ["log", task_id], ["task", "show", task_id], ["task", "why", task_id]):
        shown = run(*argv)
        assert shown.code == 0, shown.err
        assert all(line.isprintable() for line in shown.out.split("\n")), argv
    for argv in (["status", "--json"], ["log", "--json"], ["task", "show", task_id, "--json"]):
        shown = run(*argv)
        assert not set(shown.out) & set("\x1b\x9b\x7f\u202e\u2028"), argv
        assert json.loads(shown.out)


async def test_a_hostile_title_and_id_are_words_and_no_options(clone: Clone, run: Callable[..., Said]) -> None:
    clone.commit(
        {
            "agents/loash.yaml": AGENT,
            "BACKLOG.md": f"# Backlog\n\n## Ready\n\n- [ ] --upload-pack=evil {ESCAPES} \u202e {SHELL}\n",
        }
    )
    task_id = await worked(clone, None)
    for argv in (["status"], ["log"], ["task", "list"], ["task", "show", task_id]):
        shown = run(*argv)
        assert shown.code == 0, shown.err
        assert all(line.isprintable() for line in shown.out.split("\n")), argv
    assert not (clone.path / "owned").exists()
    for word in OPTIONS:
        assert run("log", "--", word).code != 0
        assert run("task", "show", "--", word).code != 0
    assert not (clone.path / "owned").exists()


@pytest.mark.parametrize("word", OPTIONS)
def test_a_branch_or_a_remote_that_looks_like_an_option_is_none(
    clone: Clone, run: Callable[..., Said], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.log.set_up", lambda: None)
    for option in ("--source",) if ":" in word else ("--source", "--remote"):  # with a colon it is a host for ssh
        said = run("hub", "--listen", "127.0.0.1:0", f"{option}={word}")
        assert (said.code, said.err.count("\n")) == (78, 1), said.err
    assert not (clone.path / "owned").exists()


async def test_a_token_in_the_words_of_an_agent_never_reaches_git(with_agent: Clone) -> None:
    await worked(
        with_agent,
        frames.TaskFailed(task_id="t", generation=1, error=f"401 with {TOKEN}", output_tail=f"export T={TOKEN}\n"),
    )
    everything = with_agent.git("log", "-p", "--format=%B", "agentcom/state")
    assert "401 with [token]" in everything
    assert TOKEN not in everything


def test_a_result_keeps_all_but_its_tokens() -> None:
    frame = frames.TaskComplete(
        task_id="t", generation=1, result={"a": [f"x {TOKEN}."], TOKEN: 1, "b": "ac_short and ac_" + "x" * 60}
    )
    word = word_of(frame)
    assert word.result == {"a": ["x [token]."], "[token]": 1, "b": "ac_short and ac_" + "x" * 60}  # type: ignore[union-attr]
