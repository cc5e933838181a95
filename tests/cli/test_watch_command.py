"""``agentcom watch`` on the screen: the countdown, and one line where it cannot watch."""

from pathlib import Path

import pytest
from support.repo import Clone, make_bare

from coordinator.cli.watch_cmd import Screen
from coordinator.git.repo import find_repo
from coordinator.plan import Plan, Planned
from coordinator.watch import Block, WatchLock


def _leave(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone.path.parent)


def _go_bare(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_bare(clone.path.parent / "bare.git"))


def _detach(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.git("switch", "--quiet", "--detach")


def _nothing(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None: ...


@pytest.mark.parametrize(
    ("prepare", "words", "code", "says"),
    [
        (_leave, "", 66, "is not inside a git repository"),
        (_go_bare, "", 1, "has no work tree: run this in a clone of it"),
        (_detach, "", 78, "HEAD names no branch"),
        (_nothing, "--push", 64, "--push needs --commit"),
        (_nothing, "--settle 3", 64, "--settle needs --commit"),
        (_nothing, "--commit --settle -1", 64, "-1"),
        (_nothing, "--commit --push", 1, "main has no upstream to push to"),
    ],
)
def test_where_it_cannot_watch_one_line_says_why(
    clone: Clone, run, monkeypatch: pytest.MonkeyPatch, prepare, words: str, code: int, says: str
) -> None:
    prepare(clone, monkeypatch)
    said = run("watch", *words.split())
    assert (said.code, said.out, said.err.count("\n")) == (code, "", 1)
    assert says in said.err


def test_a_second_one_in_the_same_work_tree_is_refused(clone: Clone, run) -> None:
    with WatchLock(find_repo(clone.path)):
        said = run("watch")
    assert (said.code, said.out) == (75, "")
    assert said.err == f"agentcom: another `agentcom watch` runs in {clone.path}: use it, or stop it first\n"


def test_on_a_terminal_the_countdown_is_one_line_that_gives_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen(terminal=True)
    screen.count(2, ("BACKLOG.md",), first=True)
    screen.count(1, ("BACKLOG.md",), first=False)
    screen.say("done")
    out = capsys.readouterr().out
    shown, _, rest = out.rpartition("\r\x1b[K")
    assert shown.split("\x1b[K") == [
        "\rcommitting BACKLOG.md in 2 s, unless s…",
        "\r",
        "\rcommitting BACKLOG.md in 1 s, unless s…",
        "",
    ]
    assert rest.endswith(" done\n")


def test_elsewhere_the_countdown_is_said_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(terminal=False)
    for left in (20, 19):
        screen.count(left, ("a.yaml", "b.yaml", "c.yaml", "d.yaml"), first=left == 20)
    screen.stop_count()
    out = capsys.readouterr().out
    assert out[9:] == "committing a.yaml, b.yaml, c.yaml and 1 more in 20 s, unless something changes\n"


def test_a_block_is_short_and_cannot_play_with_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    planned = Planned("t-1", "Mend\x1b[31m the roof", "ready", "high", 7, "BACKLOG.md:7")
    saved = tuple(f"tasks/t-{number}.yaml: new" for number in range(30))
    Screen(terminal=False).show(Block(saved, Plan(created=(planned,)), ("wait\x07for it",)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0][9:] == "tasks/t-0.yaml: new"
    assert lines[1] == " " * 9 + "tasks/t-1.yaml: new"
    assert lines[20:] == [
        " " * 9 + "and 10 files more",
        "created:",
        "  t-1  line 7  ready  high  Mend [31m the roof",
        "wait for it",
    ]


def test_help_says_what_it_does(run, tmp_path: Path) -> None:
    said = run("watch", "--help")
    assert said.code == 0
    assert "--commit" in said.out
