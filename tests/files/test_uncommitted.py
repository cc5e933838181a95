"""What is saved and not committed is said in one line a file, in items and not in lines, with a command to copy."""

import pytest

from coordinator.files.uncommitted import SHOWN, Line, Uncommitted, describe, subject
from coordinator.ports import Edit, Saved

MAIN = "refs/heads/main"
OR = ", or let `agentcom watch --commit` do it"


def backlog(*lines: str) -> bytes:
    return ("# Backlog\n\n## Ready\n\n" + "".join(f"{line}\n" for line in lines)).encode()


def said(before: bytes, after: bytes, kind: str = "changed", policy: bytes = b"") -> str:
    edit = Edit("BACKLOG.md", kind, kind != "new", before, after)
    (line,) = describe(Saved(MAIN, edits=(edit,), policy=policy), MAIN).lines
    assert (line.path, line.what) == ("BACKLOG.md", kind)
    return line.text.removeprefix("BACKLOG.md: ")


def test_nothing_saved_is_nothing_said() -> None:
    assert describe(Saved(MAIN), MAIN) == Uncommitted()
    assert str(Uncommitted()) == ""


TWO = backlog("- [ ] Write the docs", "- [ ] Mend the roof")


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (backlog("- [ ] Write the docs", "- [ ] Mend the roof", "- New"), "1 new item is saved but not committed"),
        (TWO + b"\n## Inbox\n\n- a\n- b\n", "2 new items are saved but not committed"),
        (backlog("- [x] Write the docs"), "1 item changed, 1 removed: saved but not committed"),
        (
            backlog("- [ ] Write the docs !high", "- [ ] Mend the roof"),
            "1 item changed: saved but not committed",
        ),
        (
            backlog("- [ ] Write all the docs", "- [ ] Mend the roof", "- one", "- two"),
            "2 new items, 1 changed: saved but not committed",
        ),
        (backlog("- [ ] Mend the roof", "- [ ] Write the docs"), "1 item moved: saved but not committed"),
        (
            b"# Backlog\n\n## Ready\n\n- [ ] Write the docs\n\n## Inbox\n\n- [ ] Mend the roof\n",
            "1 item moved: saved but not committed",
        ),
        (backlog(), "2 items removed: saved but not committed"),
        (b"Hello.\n\n" + TWO, "changed, but no item of it: saved but not committed"),
        (TWO.replace(b"\n", b"\r\n"), "changed, but no item of it: saved but not committed"),
        (b"\xff\xfe", "changed, saved but not committed"),
        (b"x" * 3_000_000, "changed, saved but not committed"),
    ],
)
def test_the_backlog_is_counted_in_items(after: bytes, text: str) -> None:
    assert said(TWO, after) == text


def test_a_backlog_that_is_new_or_gone_says_so() -> None:
    assert said(b"", TWO, "new") == "2 new items are saved but not committed"
    assert said(b"", b"# Backlog\n", "new") == "new, saved but not committed"
    assert said(TWO, b"", "removed") == "removed, but not committed"


def test_items_are_counted_by_the_lanes_that_are_committed() -> None:
    before, after = b"## Soon\n\n- a\n", b"## Soon\n\n- a\n- b\n"
    assert said(before, after, policy=b"lanes: {Soon: ready}\n") == "1 new item is saved but not committed"
    assert said(before, after) == "changed, but no item of it: saved but not committed"
    assert said(TWO, backlog(), policy=b"][") == "2 items removed: saved but not committed"


def test_other_files_are_named_with_what_became_of_them() -> None:
    edits = (
        Edit("agentcom.yaml", "changed"),
        Edit("tasks/t-1.yaml", "new", False),
        Edit("tasks/t-2.yaml", "removed", False),
    )
    found = describe(Saved(MAIN, edits=edits), MAIN)
    assert [line.text for line in found.lines] == [
        "agentcom.yaml: changed, saved but not committed",
        "tasks/t-1.yaml: new, saved but not committed",
        "tasks/t-2.yaml: removed, but not committed",
    ]
    assert found.hint == "`git add tasks/t-1.yaml && git commit agentcom.yaml tasks/t-1.yaml tasks/t-2.yaml`" + OR


def test_the_command_quotes_what_a_shell_would_split() -> None:
    found = describe(Saved(MAIN, edits=(Edit("tasks/a b.yaml", "new", False),)), MAIN)
    assert found.hint == "`git add 'tasks/a b.yaml' && git commit 'tasks/a b.yaml'`" + OR


def test_many_files_are_named_by_their_folders_and_the_line_stays_short() -> None:
    edits = (Edit("agentcom.yaml", "changed"), *(Edit(f"tasks/t-{n}.yaml", "new", False) for n in range(50)))
    found = describe(Saved(MAIN, edits=edits), MAIN)
    assert len(found.lines) == 51
    assert found.hint == "`git add tasks && git commit agentcom.yaml tasks`" + OR
    assert f"; and {51 - SHOWN} files more; `git add" in str(found)


def test_on_another_branch_the_way_back_is_named_and_only_when_there_are_edits() -> None:
    edits = (Edit("tasks/t-1.yaml", "new", False),)
    assert describe(Saved("refs/heads/topic"), MAIN) == Uncommitted()
    found = describe(Saved("refs/heads/topic", edits=edits), MAIN)
    assert found.hint == "topic is checked out, but AgentCom reads main: `git switch main`"
    assert describe(Saved(None, edits=edits), MAIN).hint.startswith("no branch is checked out, but AgentCom reads main")


def test_a_work_tree_on_the_state_branch_is_named_whatever_stands_in_it() -> None:
    found = describe(Saved("refs/heads/agentcom/state", edits=(Edit("BACKLOG.md", "changed"),)), MAIN)
    text = "agentcom/state is checked out, which only the hub writes: edits here are not read"
    assert found == Uncommitted((Line("HEAD", "checked_out", text),), "`git switch main`")


def test_in_the_middle_of_a_merge_it_says_to_finish_that_first() -> None:
    found = describe(Saved(MAIN, "a merge", (Edit("agentcom.yaml", "changed"),)), MAIN)
    assert found.hint == "a merge is under way: finish or abort it first"


# --- the subject of a commit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edits", "text"),
    [
        ((Edit("BACKLOG.md", "changed", True, TWO, TWO + b"- new\n- newer\n"),), "Backlog: 2 new"),
        (
            (Edit("BACKLOG.md", "changed", True, TWO, TWO.replace(b"docs", b"docs !high") + b"- new\n"),),
            "Backlog: 1 new, 1 changed",
        ),
        ((Edit("BACKLOG.md", "changed", True, TWO, b"Hello\n" + TWO),), "Backlog: no item changed"),
        ((Edit("BACKLOG.md", "removed", True, TWO),), "Backlog: removed"),
        ((Edit("plan/BACKLOG.md", "changed", True, TWO, b"\xff"),), "Backlog: changed"),
        ((Edit("tasks/t-1.yaml", "new"),), "Task t-1: new"),
        (
            (
                Edit("agentcom.yaml", "changed"),
                Edit("plan/agents/loash.yaml", "removed"),
                Edit("BACKLOG.md", "changed", True, TWO, TWO + b"- new\n"),
                Edit("plan/tasks/t-1.yaml", "changed"),
                Edit("plan/tasks/t-2.yaml", "new"),
                Edit("plan/tasks/t-3.yaml", "new"),
            ),
            "Backlog: 1 new; Policy: changed; Tasks: 2 new, 1 changed; Agent loash: removed",
        ),
    ],
)
def test_the_subject_counts_items_and_names_a_single_file(edits: tuple[Edit, ...], text: str) -> None:
    assert subject(edits, b"") == text
