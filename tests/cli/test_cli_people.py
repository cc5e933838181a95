"""What people type to begin: ``init`` and ``add``, in repositories that are not like others."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.repo import make_repo

from coordinator.cli import main


@pytest.fixture(autouse=True)
def a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.org")


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command; return its exit code and what it said on stderr."""

    def running(*argv: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(argv)
        return int(ended.value.code or 0), capsys.readouterr().err

    return running


def test_init_on_a_branch_named_agentcom_refuses_with_the_command_that_helps(tmp_path: Path, run: Run) -> None:
    clone = make_repo(tmp_path / "r")
    clone.git("symbolic-ref", "HEAD", "refs/heads/agentcom")
    code, said = run("init", str(clone.path))
    assert code == 78
    assert "git branch -m" in said
    assert clone.git("for-each-ref") == ""


def test_init_names_a_file_that_stands_where_a_folder_must(tmp_path: Path, run: Run) -> None:
    clone = make_repo(tmp_path / "r", {"a": "x"})
    clone.write({"tasks": "a note of mine\n"})
    code, said = run("init", str(clone.path))
    assert code == 1
    assert said.startswith("agentcom: tasks is a file, but tasks/")
    assert sorted(path.name for path in clone.path.iterdir()) == [".git", "a", "tasks"]


@pytest.mark.parametrize("title", ["Fix the 👩\u200d💻 avatar", "日本語\u3000全角", "a\u00a0b"])
def test_add_takes_any_text_of_one_line(tmp_path: Path, run: Run, title: str) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n\n## Ready\n"})
    assert run("add", "--repo", str(clone.path), title) == (0, "")
    assert clone.show("BACKLOG.md").endswith(f"- [ ] {title}\n")


@pytest.mark.parametrize("title", ["a\nb", "a\x1bb", "a\u2028b", "a\u202eb", "a\x85b"])
def test_add_refuses_what_is_more_than_a_line_or_turns_it_around(tmp_path: Path, run: Run, title: str) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n\n## Ready\n"})
    assert run("add", "--repo", str(clone.path), title)[0] == 64


def test_add_without_a_hub_names_what_starts_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n\n## Ready\n"})
    with pytest.raises(SystemExit):
        main(("add", "--repo", str(clone.path), "one"))
    assert "no hub is running: start one with `agentcom up`" in capsys.readouterr().out


def test_add_knows_its_own_line_endings_again(tmp_path: Path, run: Run) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": b"# Backlog\r\n\r\n## Ready\r\n\r\n- [ ] a\r\n"})
    clone.git("config", "core.autocrlf", "true")
    for title in ("one", "two"):
        assert run("add", "--repo", str(clone.path), title) == (0, "")
