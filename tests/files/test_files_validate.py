"""A folder on disk is read as the hub would read it from git, and never through a link."""

import os
from pathlib import Path, PurePath

import pytest

from coordinator.core.policy import Lane
from coordinator.files.validate import Fate, fates, validate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "agents").mkdir()
    (tmp_path / "BACKLOG.md").write_text(
        "## Ready\n- go due:never\n- on\n## In Progress\n- p\n## Inbox\n- [ ] (A) idea\n"
    )
    (tmp_path / "tasks/t-1.yaml").write_text("titel: x\n")
    (tmp_path / "tasks/t-2.yaml").write_text("title: x\ndepends_on: [elsewhere]\n")
    (tmp_path / "agents/loash.yaml").write_text("role: admin\n")
    return tmp_path


def paths(problems) -> list[str]:
    return [problem.path for problem in problems]


def test_every_file_is_read_and_every_mistake_named(folder):
    assert paths(validate(folder)) == ["BACKLOG.md", "agents/loash.yaml", "tasks/t-1.yaml", "tasks/t-1.yaml"]


def test_named_paths_limit_the_report_and_missing_ones_are_in_it(folder):
    assert paths(validate(folder, [PurePath("agents"), PurePath("BACKLOG.md")])) == ["BACKLOG.md", "agents/loash.yaml"]
    assert [str(problem) for problem in validate(folder, [PurePath("tasks/t-9.yaml")])] == [
        "tasks/t-9.yaml: there is no such file, check the path"
    ]


def test_links_are_reported_and_not_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.yaml").write_text("title: secret\n")
    (folder / "tasks/t-1.yaml").unlink()
    (folder / "tasks/link.yaml").symlink_to(outside / "secret.yaml")
    os.mkfifo(folder / "tasks/pipe.yaml")
    (folder / "agents/loash.yaml").unlink()
    (folder / "agents").rmdir()
    (folder / "agents").symlink_to(outside)
    assert [
        str(problem).partition(",")[0] for problem in validate(folder, [PurePath("tasks"), PurePath("agents")])
    ] == [
        "agents: is no folder",
        "tasks/link.yaml: is a symbolic link",
        "tasks/pipe.yaml: is of mode 000000",
    ]


def test_a_root_of_its_own_is_found_through_the_policy(tmp_path):
    (tmp_path / "agentcom.yaml").write_text("root: .agentcom\n")
    (tmp_path / ".agentcom/tasks").mkdir(parents=True)
    (tmp_path / ".agentcom/tasks/t-1.yaml").write_text("titel: x\n")
    assert set(paths(validate(tmp_path))) == {".agentcom/tasks/t-1.yaml"}


def test_a_wrong_policy_is_reported_with_the_rest(folder):
    (folder / "agentcom.yaml").write_text("suspend: maybe\n")
    assert "agentcom.yaml" in paths(validate(folder))
    assert "tasks/t-1.yaml" in paths(validate(folder))


def test_an_empty_folder_has_no_problems(tmp_path):
    assert validate(tmp_path) == ()
    assert fates(tmp_path) == ()


def test_the_fate_of_every_item_is_told_before_it_is_committed(folder):
    assert fates(folder) == (
        Fate(2, "go", Lane.READY, "normal", False),
        Fate(3, "on", Lane.READY, "normal", True),
        Fate(5, "p", Lane.DRAFT, "normal", False),
        Fate(7, "idea", Lane.DRAFT, "urgent", False),
    )


def test_the_template_of_init_holds_no_live_task_and_no_mistake():
    top = Path(__file__).parents[2]
    assert fates(top) == ()
    assert validate(top, [PurePath("tasks"), PurePath("agents"), PurePath("BACKLOG.md")]) == ()
