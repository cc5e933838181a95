"""What commands say when they are used wrongly, and what they say more than they must."""

from pathlib import Path

import pytest
from support.repo import Clone
from support.state import let_a_hub_look

from coordinator.files import validate
from coordinator.reading import NoAddress, address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:4000/", "http://127.0.0.1:4000"),
        ("ws://127.0.0.1:4000/ws", "http://127.0.0.1:4000"),
        ("wss://hub.example/agents/ws", "https://hub.example/agents"),
    ],
)
def test_a_hub_may_be_named_by_the_address_of_its_sockets(text: str, url: str) -> None:
    assert address(text) == url


@pytest.mark.parametrize("text", ["garbage", "http://", "127.0.0.1:4000", "ftp://x"])
def test_what_is_no_address_is_a_mistake_of_usage(clone: Clone, run, text: str) -> None:
    with pytest.raises(NoAddress):
        address(text)
    said = run("status", "--hub", text)
    assert (said.code, said.err.count("\n")) == (64, 1)


def test_the_log_gives_the_reason_where_there_is_one(clone: Clone, run) -> None:
    let_a_hub_look(clone)
    (task,) = run("task", "list", "--json").json["tasks"]
    run("task", "cancel", task["id"])
    let_a_hub_look(clone)
    assert f"queued -> cancelled (Test Person): cancelled in tasks/{task['id']}.yaml" in run("log").out.replace(
        clone.git("config", "user.name"), "Test Person"
    )


def test_a_file_that_may_not_be_read_is_no_empty_file(clone: Clone, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "_read", lambda folder, name: None if name == "BACKLOG.md" else b"")
    said = run("validate")
    assert said.code == 65
    assert "BACKLOG.md: may not be read by this user, chmod u+r BACKLOG.md" in said.out


def test_init_names_a_backlog_that_is_no_plain_file(clone: Clone, run) -> None:
    (clone.path / "real.md").write_text("# Backlog\n")
    (clone.path / "BACKLOG.md").unlink()
    (clone.path / "BACKLOG.md").symlink_to("real.md")
    clone.commit()
    said = run("init")
    assert "BACKLOG.md is a link or a folder" in said.out
    assert "not committed" not in said.out


def test_init_understands_a_path_with_dots_from_inside_a_repository(clone: Clone, run, tmp_path: Path) -> None:
    clone.git("config", "--local", "user.name", "x")
    said = run("init", "../brand-new")
    assert "is not inside a git repository" not in said.err
    assert (tmp_path / "brand-new" / ".git").exists()


def test_drafts_are_shown_though_they_never_run(clone: Clone, run) -> None:
    clone.commit({"BACKLOG.md": "# B\n\n## Inbox\n\n- An Idea\n\n## Someday\n\n- Not now\n"})
    let_a_hub_look(clone)
    out = run("status").out
    assert "An Idea" in out
    assert "Not now" in out
    assert [one["lane"] for one in run("status", "--json").json["drafts"]] == ["draft", "deferred"]


def test_a_dependency_on_a_task_that_never_was_is_a_mistake_once_a_trail_says_which_tasks_there_are(
    clone: Clone, run
) -> None:
    clone.write({"tasks/t-x.yaml": "title: x\ndepends_on: [t-nope]\n"})
    assert run("validate").code == 0
    let_a_hub_look(clone)
    (task,) = run("task", "list", "--json").json["tasks"]
    said = run("validate")
    assert (said.code, "tasks/t-x.yaml:2:13: depends_on: there is no task t-nope" in said.out) == (65, True)
    clone.write({"tasks/t-x.yaml": f"title: x\ndepends_on: [{task['id']}]\n"})
    assert run("validate").code == 0
