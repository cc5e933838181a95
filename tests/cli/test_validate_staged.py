"""`agentcom validate --staged` reports what the next commit would bring, and only that."""

from collections.abc import Callable

from support.cli import Said
from support.repo import Clone

Run = Callable[..., Said]


def test_a_staged_mistake_is_reported_and_a_saved_one_is_not(clone: Clone, run: Run) -> None:
    clone.write({"tasks/t-1.yaml": "titel: x\n"})
    assert (run("validate", "--staged").code, run("validate").code) == (0, 65)
    clone.git("add", "--all")
    clone.write({"tasks/t-1.yaml": "title: x\n"})
    said = run("validate", "--staged")
    assert said.code == 65
    assert said.out.splitlines()[0] == "tasks/t-1.yaml:1:1: titel: unknown key, did you mean title?"
    assert run("validate").code == 0


def test_a_mistake_that_was_committed_before_blocks_nothing_else(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "titel: x\n"})
    clone.write({"tasks/t-2.yaml": "title: x\n"})
    clone.git("add", "--all")
    assert run("validate", "--staged").out == "ok: nothing is wrong\n"
    clone.write({"tasks/t-1.yaml": "titel: y\n"})
    clone.git("add", "--all")
    assert run("validate", "--staged", "--json").json["count"] == 2


def test_a_mistake_that_a_commit_makes_elsewhere_is_reported(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\ndepends_on: [t-2]\n", "tasks/t-2.yaml": "title: x\n"})
    clone.write({"tasks/t-2.yaml": "title: x\ndepends_on: [t-1]\n"})
    clone.git("add", "--all")
    assert "tasks wait for one another: t-1 -> t-2 -> t-1" in run("validate", "--staged").out


def test_paths_limit_what_is_reported(clone: Clone, run: Run) -> None:
    clone.write({"tasks/t-1.yaml": "titel: x\n", "agents/a.yaml": "role: admin\n"})
    clone.git("add", "--all")
    said = run("validate", "--staged", "agents")
    assert said.code == 65
    assert {line.partition(":")[0] for line in said.out.splitlines()} == {"agents/a.yaml"}


def test_a_file_that_is_removed_from_the_index_is_no_mistake(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "titel: x\n"})
    clone.git("rm", "--quiet", "tasks/t-1.yaml")
    assert run("validate", "--staged").code == 0
