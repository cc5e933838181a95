"""The pre-commit hook stops wrong files and nothing else, and never touches a hook of the person's."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from support.cli import Said
from support.repo import Clone

from coordinator.cli import cli
from coordinator.git.hooks import script

Run = Callable[..., Said]
TOP = Path(__file__).parents[2]
WRONG = "titel: x\n"


@pytest.fixture
def hooked(clone: Clone, run: Run) -> Clone:
    assert run("install-hook").code == 0
    return clone


def commit(clone: Clone, *what: str) -> str | None:
    """Commit as a person; return None when git did it, else what it said."""
    try:
        clone.git("commit", "-m", "x", *what)
    except AssertionError as error:
        return str(error)
    return None


def test_a_wrong_file_stops_the_commit_and_says_where(hooked: Clone) -> None:
    hooked.write({"tasks/t-1.yaml": WRONG})
    hooked.git("add", "--all")
    said = commit(hooked)
    assert said is not None
    assert "tasks/t-1.yaml:1:1: titel: unknown key, did you mean title?" in said
    assert "git commit --no-verify" in said
    assert commit(hooked, "--no-verify") is None


def test_only_what_is_being_committed_is_judged(hooked: Clone) -> None:
    hooked.write({"tasks/t-1.yaml": WRONG, "a.txt": "b\n"})
    hooked.git("add", "--all")
    assert commit(hooked, "--", "a.txt") is None
    hooked.write({"tasks/t-1.yaml": "title: x\n"})
    assert commit(hooked, "--", "tasks/t-1.yaml") is None
    hooked.write({"tasks/t-1.yaml": WRONG})
    assert commit(hooked, "--allow-empty") is None
    assert "titel" in str(commit(hooked, "--all"))


def test_a_linked_work_tree_has_the_hook_too(hooked: Clone, tmp_path: Path) -> None:
    hooked.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked"))
    linked = Clone(tmp_path / "linked")
    linked.write({"tasks/t-1.yaml": WRONG})
    linked.git("add", "--all")
    assert "titel" in str(commit(linked))


def test_our_own_commits_pass_through_it(hooked: Clone, run: Run) -> None:
    assert run("task", "new", "T", "--id", "t-1").code == 0
    assert run("add", "A line").code == 0


def test_a_module_of_the_repository_is_not_run(hooked: Clone) -> None:
    hooked.write({"coordinator/__init__.py": "raise SystemExit(65)\n", "a.txt": "b\n"})
    hooked.git("add", "--all")
    assert commit(hooked) is None


def test_a_missing_interpreter_stops_nobody(hooked: Clone) -> None:
    (hooked.path / ".git/hooks/pre-commit").write_text(script("/nowhere/bin/python"))
    hooked.write({"tasks/t-1.yaml": WRONG})
    hooked.git("add", "--all")
    assert commit(hooked) is None


@pytest.mark.parametrize("python", ["/nowhere/bin/python", "/bin/false"])
def test_a_broken_installation_says_that_nothing_was_checked(hooked: Clone, python: str, run: Run) -> None:
    hook = hooked.path / ".git/hooks/pre-commit"
    hook.write_text(script(python))
    done = subprocess.run([hook], cwd=hooked.path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert (
        f"this commit was not checked: run `agentcom install-hook` again, or remove the hook: rm '{hook}'"
        in done.stderr
    )
    assert run("install-hook").out == f"installed: {hook}\n"
    assert hook.read_text() == script(sys.executable)


def test_installing_twice_changes_nothing_and_removing_twice_neither(clone: Clone, run: Run) -> None:
    hook = clone.path / ".git/hooks/pre-commit"
    assert run("install-hook", "--json").json == {
        "schema_version": 1,
        "hook": str(hook),
        "installed": True,
        "changed": True,
    }
    assert run("install-hook").out == f"installed already: {hook}\n"
    assert run("install-hook", "--uninstall").out == f"removed: {hook}\n"
    assert run("install-hook", "--uninstall").out == f"there was no hook: {hook}\n"
    assert not hook.exists()


def test_a_hook_of_the_person_is_never_touched_and_the_line_to_add_works(clone: Clone, run: Run) -> None:
    hook = clone.path / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    said = run("install-hook")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert run("install-hook", "--uninstall").code == 1
    assert hook.read_text() == "#!/bin/sh\n"
    hook.write_text("#!/bin/sh\n" + said.err.split("add this line to it: ")[1])
    clone.write({"tasks/t-1.yaml": WRONG})
    clone.git("add", "--all")
    assert "titel" in str(commit(clone))
    assert run("install-hook").out == f"installed already: {hook}\n"


def test_ours_with_a_change_of_the_person_counts_as_theirs(hooked: Clone, run: Run) -> None:
    hook = hooked.path / ".git/hooks/pre-commit"
    hook.write_text(hook.read_text() + "echo mine\n")
    assert "is there already and is not ours" in run("install-hook").err
    assert "by hand" in run("install-hook", "--uninstall").err


def test_a_link_is_not_written_through(clone: Clone, run: Run, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("#!/bin/sh\n")
    (clone.path / ".git/hooks/pre-commit").symlink_to(tmp_path / "theirs")
    assert run("install-hook").code == 1
    assert (tmp_path / "theirs").read_text() == "#!/bin/sh\n"


def test_the_configured_folder_of_hooks_is_used_and_what_that_means_is_said(
    clone: Clone, run: Run, tmp_path: Path
) -> None:
    clone.git("config", "core.hooksPath", str(tmp_path / "everybodys"))
    assert "other repositories" in run("install-hook").out
    assert (tmp_path / "everybodys/pre-commit").exists()
    clone.git("config", "core.hooksPath", ".githooks")
    assert "do not commit it" in run("install-hook").out
    clone.write({"tasks/t-1.yaml": WRONG})
    clone.git("add", "tasks")
    assert "titel" in str(commit(clone))


def test_where_there_is_no_repository_it_says_so(run: Run, tmp_path: Path) -> None:
    assert run("install-hook", "--repo", str(tmp_path)).code == 66


# --- the pre-commit framework ---------------------------------------------------------------------------------------


def test_the_hook_for_the_framework_names_a_command_that_exists_and_the_files_that_count() -> None:
    (hook,) = yaml.safe_load((TOP / ".pre-commit-hooks.yaml").read_text())
    assert (hook["id"], hook["language"]) == ("agentcom-validate", "python")
    program, command = shlex.split(hook["entry"])
    assert program in tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["scripts"]
    assert cli.get_command(click.Context(cli), command) is not None
    counts = (
        "BACKLOG.md agentcom.yaml tasks/t-1.yaml agents/a.yml .agentcom/tasks/t-1.yaml .agentcom/BACKLOG.md".split()
    )
    others = "README.md tasks/README.md tasks/backlog/t-1.yaml src/tasks.py MYBACKLOG.md docs/agentcom.yaml.md".split()
    assert [path for path in counts + others if re.search(hook["files"], path)] == counts


def test_the_framework_gets_what_it_expects_of_the_command(clone: Clone, run: Run) -> None:
    clone.write({"tasks/t-1.yaml": WRONG, "agents/a.yaml": "role: admin\n"})
    said = run("validate", "BACKLOG.md", "tasks/t-1.yaml")
    assert said.code == 65
    assert "agents" not in said.out
    assert run("validate", "BACKLOG.md").code == 0
