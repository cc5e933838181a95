"""``agentcom confirm``: what is held, and one commit that lets it go on."""

import pytest
from support.repo import Clone
from support.state import let_a_hub_look

MANY = "# Backlog\n\n## Ready\n\n" + "".join(f"- [ ] thing {n}\n" for n in range(30))


def held_tasks(run) -> int:
    return sum(task["why"]["code"] == "held" for task in run("task", "list", "--json").json["tasks"] if task["why"])


def test_nothing_held_is_said_and_no_commit_is_made(clone: Clone, run) -> None:
    let_a_hub_look(clone)
    before = clone.head()
    said = run("confirm")
    assert (said.code, said.out) == (0, "nothing is held\n")
    assert clone.head() == before


def test_what_the_hub_holds_is_shown_and_then_let_go_on(clone: Clone, run) -> None:
    many = clone.commit({"BACKLOG.md": MANY})
    let_a_hub_look(clone)
    assert held_tasks(run) == 30
    shown = run("confirm", "--show")
    assert "30 new ready items came at once" in shown.out
    assert clone.head() == many
    assert "agentcom confirm" in run("status").out

    said = run("confirm", "--json").json

    assert said["confirmed"] == [many]
    assert clone.git("log", "-1", "--format=%(trailers:key=Agentcom-Confirm,valueonly)").strip() == many
    let_a_hub_look(clone)
    assert held_tasks(run) == 0
    assert run("confirm").out == "nothing is held\n"


def test_what_no_hub_has_seen_yet_can_be_confirmed_before(clone: Clone, run) -> None:
    many = clone.commit({"BACKLOG.md": MANY})
    assert run("confirm", "--json").json["confirmed"] == [many]
    assert run("confirm").out == "nothing is held\n"
    let_a_hub_look(clone)
    assert held_tasks(run) == 0


def test_a_backlog_older_than_init_waits_and_a_later_line_does_not(clone: Clone, run) -> None:
    run("init")
    clone.commit({"BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] one\n- [ ] two\n"})
    let_a_hub_look(clone)
    assert held_tasks(run) == 1
    run("confirm")
    let_a_hub_look(clone)
    assert held_tasks(run) == 0


def test_a_confirmation_takes_no_staged_work_along(clone: Clone, run) -> None:
    clone.commit({"BACKLOG.md": MANY})
    clone.write({"a.txt": "staged\n"})
    clone.git("add", "a.txt")
    clone.write({"a.txt": "staged, and more\n"})
    assert run("confirm").code == 0
    assert clone.git("diff-tree", "--no-commit-id", "--name-only", "-r", "HEAD") == ""
    assert clone.git("status", "--porcelain") == "MM a.txt"


def test_a_held_removal_is_shown_with_the_titles_of_what_would_go(clone: Clone, run) -> None:
    clone.commit({"BACKLOG.md": MANY})
    run("confirm")
    let_a_hub_look(clone)
    clone.commit({"BACKLOG.md": "# Backlog\n\n## Ready\n"})
    let_a_hub_look(clone)
    shown = run("confirm", "--show").out
    assert "30 open tasks would disappear at once" in shown
    assert "thing 7" in shown
    run("confirm")
    let_a_hub_look(clone)
    assert run("task", "list", "--json").json["tasks"] == []


@pytest.mark.parametrize("word", ["--push", ""])
def test_another_branch_is_no_place_to_confirm_from(clone: Clone, run, word: str) -> None:
    clone.commit({"BACKLOG.md": MANY})
    let_a_hub_look(clone)
    clone.git("switch", "-q", "-c", "other")
    said = run("confirm", *([word] if word else []))
    assert said.code == 1
    assert "git switch main" in said.err
