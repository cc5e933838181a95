"""``agentcom log``: the whole history of one task, and quickly."""

import subprocess
import sys
from collections.abc import Callable

from support.cli import Said
from support.repo import Clone, git_env, lose
from support.state import let_a_hub_look

from coordinator.git.journal import GitStore
from coordinator.git.message import compose
from coordinator.ports import Author, Commit

SHOW_AND_NAME_MODULES = """
import sys
from coordinator.cli import main
try:
    main(["log", "t-1"])
finally:
    print(*sys.modules)
"""
EPOCH = ("Agentcom-Epoch", "1/h-aaaaaaaa")


def write_progress(clone: Clone, changes: int) -> None:
    """Let a hub change one task so often."""
    who = Author("AgentCom hub", "hub@agentcom.invalid")
    path = "status/open/t-1.yaml"
    store = GitStore(clone.repo)
    store.flush((Commit(compose("hub starts", "", [EPOCH]), who, 0, {"status/hub.yaml": b"epoch: 1\n"}),))
    messages = (compose(f"t-1: change {number}", "", [("Agentcom-Task", "t-1"), EPOCH]) for number in range(changes))
    store.flush(tuple(Commit(text, who, 1000, {path: text.encode()}) for text in messages))


def test_the_log_of_one_task_reaches_its_beginning_and_the_log_of_everything_is_a_screenful(
    run: Callable[..., Said], clone: Clone
) -> None:
    write_progress(clone, 70)
    one = run("log", "t-1").out.splitlines()
    assert len(one) == 70
    assert one[-1].endswith("t-1: change 0")
    assert len(run("log").out.splitlines()) == 50
    assert len(run("log", "t-1", "-n", "3").out.splitlines()) == 3
    assert len(run("log", "-n", "60").out.splitlines()) == 60
    assert len(run("log", "t-1", "--json").json["commits"]) == 70


def test_the_log_is_shown_without_loading_what_reads_peoples_files(clone: Clone) -> None:
    write_progress(clone, 1)
    argv = [sys.executable, "-c", SHOW_AND_NAME_MODULES]
    done = subprocess.run(argv, cwd=clone.path, env=git_env(), capture_output=True, text=True, check=False)
    said, _, modules = done.stdout.partition("\n")
    assert said.endswith("t-1: change 0"), done.stderr
    assert not {"pydantic", "yaml", "markdown_it", "flask", "asyncio", "coordinator.reading"} & set(modules.split())


def test_a_branch_that_was_deleted_is_not_said_never_to_have_been(run: Callable[..., Said], clone: Clone) -> None:
    let_a_hub_look(clone)
    clone.git("branch", "-qD", "agentcom/state")
    for command in ("log", "status"):
        assert run(command).out.startswith(
            "agentcom/state was deleted while no hub was running: the next `agentcom hub`"
        )
    assert "would run" not in run("status").out


def test_a_branch_that_cannot_be_read_is_said_in_words_of_people(run: Callable[..., Said], clone: Clone) -> None:
    let_a_hub_look(clone)
    lose(clone, clone.head("agentcom/state"))
    said = run("log")
    assert said.code == 1
    assert said.err.startswith("agentcom: agentcom/state cannot be read: ")
    assert "--first-parent" not in said.err
