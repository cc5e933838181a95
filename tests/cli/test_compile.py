"""``agentcom compile``: what committing the saved files would do, said before it is done."""

import pytest
from support.repo import Clone
from support.state import let_a_hub_look

BACKLOG = """# Backlog

## Inbox

- an idea

## Ready

- [ ] **Fix the login** - it forgets people !high
- [ ] Write the guide
- [ ] Port the parser

## Someday

- later
"""


def ids(plan: dict, name: str) -> list[str]:
    return [one["title"] for one in plan[name]]


@pytest.fixture
def watched(clone: Clone) -> Clone:
    """A repository that a hub has observed."""
    clone.write({"BACKLOG.md": BACKLOG, "tasks/t-own.yaml": "title: A file of its own\n"})
    clone.commit(message="want things")
    let_a_hub_look(clone)
    return clone


def test_before_any_hub_everything_would_be_created(clone: Clone, run) -> None:
    said = run("compile", "--json")
    (one,) = said.json["created"]
    assert (one["title"], one["lane"], one["priority"], one["line"]) == ("one", "ready", "normal", 5)
    assert one["id"].startswith("t-")
    assert run("compile", "--check").code == 2


def test_nothing_would_change_when_everything_was_observed(watched: Clone, run) -> None:
    said = run("compile")
    assert (said.code, said.out) == (0, "nothing would change\n")
    assert run("compile", "--check").code == 0


def test_every_kind_of_edit_is_in_its_list(watched: Clone, run) -> None:
    text = BACKLOG.replace("- [ ] Write the guide\n", "").replace("!high", "!low")
    text = text.replace("- [ ] Port the parser\n", "").replace("- later\n", "- later\n- [ ] Port the parser\n")
    text = text.replace("## Ready\n\n", "## Ready\n\n- [ ] A new thing\n")
    watched.write({"BACKLOG.md": text + "\n## How to use\n\n- just words\n", "tasks/t-own.yaml": None})
    plan = run("compile", "--json").json
    assert ids(plan, "created") == ["A new thing"]
    assert ids(plan, "changed") == ["Fix the login"]
    assert ids(plan, "moved") == ["Port the parser"]
    assert ids(plan, "cancelled") == ["Write the guide", "A file of its own"]
    assert ids(plan, "ignored") == ["just words"]
    assert (plan["orphaned"], plan["held"], plan["problems"]) == ([], [], [])


def test_lines_that_change_places_are_moved_and_nothing_else(watched: Clone, run) -> None:
    one, two = "- [ ] Write the guide\n", "- [ ] Port the parser\n"
    watched.write({"BACKLOG.md": BACKLOG.replace(one + two, two + one)})
    plan = run("compile", "--json").json
    assert len(plan["moved"]) == 1
    assert not any(plan[name] for name in ("created", "changed", "cancelled", "orphaned", "held"))


def test_what_would_be_held_is_said_before(watched: Clone, run) -> None:
    many = "".join(f"- [ ] thing {n}\n" for n in range(30))
    watched.write({"BACKLOG.md": BACKLOG.replace("## Ready\n\n", f"## Ready\n\n{many}")})
    plan = run("compile", "--json").json
    assert (len(plan["held"]), plan["created"]) == (30, [])


def test_a_wrong_word_is_a_problem_with_its_place(watched: Clone, run) -> None:
    watched.write({"BACKLOG.md": BACKLOG.replace("Write the guide", "Write the guide due:tomorrow")})
    (problem,) = run("compile", "--json").json["problems"]
    assert (problem["path"], problem["line"], problem["column"]) == ("BACKLOG.md", 10, 23)


def test_committed_and_not_observed_counts_as_well(watched: Clone, run) -> None:
    watched.write({"BACKLOG.md": BACKLOG.replace("- later\n", "- later\n- even later\n")})
    watched.commit(message="more")
    assert ids(run("compile", "--json").json, "created") == ["even later"]


def test_the_plan_is_what_the_hub_then_does(watched: Clone, run) -> None:
    text = BACKLOG.replace("Fix the login", "Fix the login page").replace("- later", "- [ ] much later")
    watched.write({"BACKLOG.md": text})
    plan = run("compile", "--json").json
    watched.commit(message="edit")
    hub = let_a_hub_look(watched)
    changed = {one["id"]: one["title"] for one in plan["changed"]}
    assert {name: hub.core.memory.tasks[name].spec.title for name in changed if name in hub.core.memory.tasks} == {
        name: title for name, title in changed.items() if name in hub.core.memory.tasks
    }
    assert "Fix the login page" in changed.values()
    assert run("compile", "--check").code == 0


def test_anchors_are_written_behind_the_lines_and_are_no_change(watched: Clone, run) -> None:
    assert run("compile", "--anchor", "--check").code == 2
    assert watched.path.joinpath("BACKLOG.md").read_text() == BACKLOG
    said = run("compile", "--anchor", "--json")
    assert said.json["written"] == ["BACKLOG.md"]
    text = watched.path.joinpath("BACKLOG.md").read_text()
    assert text.count("<!-- t-") == 5
    again = run("compile", "--json").json
    assert not any(again[name] for name in ("created", "cancelled", "moved", "orphaned", "held"))
    assert run("compile", "--anchor", "--check").code == 0


def test_ticks_are_written_for_what_has_ended(watched: Clone, run) -> None:
    (guide,) = [one for one in run("task", "list", "--json").json["tasks"] if one["title"] == "Write the guide"]
    assert run("task", "cancel", guide["id"]).code == 0
    let_a_hub_look(watched)
    run("compile", "--tick")
    text = watched.path.joinpath("BACKLOG.md").read_text()
    assert text == BACKLOG.replace("- [ ] Write the guide", "- [-] Write the guide")


def test_specifications_are_laid_out_for_a_look_and_the_hub_ignores_them(watched: Clone, run) -> None:
    said = run("compile", "--write", "--json")
    assert len(said.json["written"]) == 3
    texts = "".join(watched.path.joinpath(name).read_text() for name in said.json["written"])
    assert "Fix the login" in texts
    assert run("compile", "--check").code == 0


def test_there_is_one_line_where_nobody_can_compile(tmp_path, monkeypatch: pytest.MonkeyPatch, run) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("compile")
    assert (said.code, said.err.count("\n")) == (66, 1)
