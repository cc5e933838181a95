"""What a person sees on a real terminal, and that a program that reads our output sees nothing of that."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.repo import Clone, git_env, make_repo
from support.screens import AGENTCOM, on_screen, through_pipe

from coordinator.cli.common import table

LONG = "Add a /health route with a test, and make sure that it answers within a second"
IDS = ("add-health", "mend-it", "held-one")
HOSTILE = (
    "[bold red]loud[/bold red] [link=http://evil.example]click[/link] :smile: [/]",
    "漢字のとても長いタイトルがここにあり端末の幅を超えるかもしれません",
    "👩\u200d👩\u200d👧 family 🚀 and שלום עולם \u202egnp.exe\u202c",
    "\x1b[31mred\x1b]8;;http://evil.example\x07link\x07 \x9b2J bell\x07",
)
#: A table as a command prints it, its rows given as JSON.
TABLE = (
    "import json, sys; from coordinator.cli.common import print_table; rows, heads = json.loads(sys.argv[1]); "
    "print_table(rows, '  ', heads)"
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone without a hub; what would be there of tasks is in the compile plan."""
    made = make_repo(tmp_path_factory.mktemp("screen") / "repo", {"BACKLOG.md": "# Backlog\n"})
    subprocess.run((*AGENTCOM, "init"), cwd=made.path, env=git_env(), check=True, capture_output=True)
    files = {f"tasks/{name}.yaml": f"title: {LONG}\npriority: urgent\n" for name in IDS}
    made.write({**files, "agents/ada.yaml": "{}\n"})
    return made


def drawn(rows: list[tuple[str, ...]], heads: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (sys.executable, "-c", TABLE, json.dumps([rows, heads]))


# --- pipes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}, {"COLUMNS": "30"}, {"TTY_COMPATIBLE": "1"}])
def test_through_a_pipe_a_table_is_lines_as_ever(env: dict[str, str]) -> None:
    rows = [("add-health", "failed", LONG), ("b", "done", HOSTILE[0])]
    assert through_pipe(drawn(rows, ("task", "status", "title")), env=env) == table(rows, "  ") + "\n"


@pytest.mark.slow
def test_a_dumb_terminal_gets_the_lines_of_a_pipe(clone: Clone) -> None:
    for words in (("compile",), ("config", "show", "policy"), ("config", "show", "--json")):
        dumb = on_screen((*AGENTCOM, *words), 40, clone.path, {"TERM": "dumb"})
        assert dumb.raw == through_pipe((*AGENTCOM, *words), clone.path)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("status",), ("config", "show"), ("task", "list"), ("doctor",), ("compile",)])
def test_no_command_needs_the_library_of_screens_without_one(clone: Clone, words: tuple[str, ...]) -> None:
    code = (
        "import sys; from coordinator.cli import main\n"
        f"try: main({list(words)})\n"
        "except SystemExit: pass\n"
        "print('loaded:', sorted(name for name in sys.modules if name.partition('.')[0] == 'rich'))"
    )
    assert through_pipe((sys.executable, "-c", code), clone.path).endswith("loaded: []\n")


# --- terminals ------------------------------------------------------------------------------------------------------


def test_a_terminal_shows_heads_colours_and_whole_words(clone: Clone) -> None:
    seen = on_screen((*AGENTCOM, "compile"), 80, clone.path)
    assert seen.code == 0
    assert any(line.split() == ["task", "where", "lane", "priority", "title"] for line in seen.lines)
    assert "\x1b[1;31murgent" in seen.raw.replace(" ", "")
    assert seen.widest <= 80


@pytest.mark.parametrize("columns", [20, 40, 61, 80, 200])
def test_an_id_is_never_broken_whatever_the_width(columns: int) -> None:
    ids = [*IDS, "t-k3m9q2xa", "x" * 64]
    seen = on_screen(
        drawn([(name, "queued", LONG, "waits for another") for name in ids], ("task", "status", "t", "w")), columns
    )
    words = {word for line in seen.lines for word in line.split()}
    assert set(ids) <= words
    too_wide = [line for line in seen.lines if cell_len(line) > columns]
    assert all(line.strip() in ids for line in too_wide)
    assert sum(line.count("another") for line in seen.lines) == len(ids)


@pytest.mark.slow
@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_without_colours_the_words_are_the_same(clone: Clone, env: dict[str, str]) -> None:
    plain = on_screen((*AGENTCOM, "compile"), 80, clone.path, env)
    assert "\x1b" not in plain.raw
    assert plain.text == on_screen((*AGENTCOM, "compile"), 80, clone.path).text


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("title", HOSTILE)
def test_a_hostile_text_is_shown_as_text(title: str, columns: int) -> None:
    seen = on_screen(
        drawn([("t-k3m9q2xa", "done", title), ("b", "failed", title)], ("task", "status", "title")), columns
    )
    assert seen.strange() == []
    assert seen.widest <= columns
    shown = "".join(seen.text.split())
    wanted = "".join(char for char in title if char.isprintable() and not char.isspace())
    assert shown.count(wanted) == 2


def test_what_is_to_be_copied_is_not_broken(clone: Clone) -> None:
    seen = on_screen((*AGENTCOM, "hook", "secret"), 30, clone.path)
    secret = (clone.path / ".git/agentcom/hook.secret").read_text().strip()
    assert secret in seen.text
    assert "http://127.0.0.1:4000/hooks/git" in seen.text


@pytest.mark.slow
def test_a_sign_of_progress_leaves_nothing_behind(clone: Clone) -> None:
    seen = on_screen((*AGENTCOM, "doctor"), 80, clone.path)
    assert "examining ..." in seen.text
    assert not [line for line in seen.left if "examining" in line]
    assert seen.left[0].split() == ["level", "about", "finding"]
    assert "examining" not in through_pipe((*AGENTCOM, "doctor"), clone.path)
    asked = on_screen((*AGENTCOM, "doctor", "--json"), 80, clone.path)
    assert json.loads(asked.raw)["findings"]


def test_a_failure_takes_its_sign_of_progress_away(tmp_path: Path) -> None:
    code = (
        "from coordinator.cli.common import busy\n"
        "try:\n"
        "    with busy('waiting for [bold]the end[/bold] ...'): raise OSError('no')\n"
        "except OSError as error: print(error)"
    )
    for columns in (10, 80):
        assert on_screen((sys.executable, "-c", code), columns, tmp_path).left == ["no"]


def test_a_last_line_that_is_written_again_fits_and_is_gone_in_the_end(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from coordinator.cli.board import Board\n"
        "board = Board(terminal=sys.stdout.isatty())\n"
        "for note in ('漢字のとても長いタイトル' * 9, 'two \\x1b[31m', 'two \\x1b[31m', ''):\n"
        "    board.note(note)\n"
        "    board.say('a line')\n"
    )
    seen = on_screen((sys.executable, "-c", code), 40, tmp_path)
    assert all(cell_len(piece) < 40 for line in seen.lines for piece in seen.pieces(line))
    assert seen.raw.count("two  [31m") == 3, "shown when it changes, and again below each line"
    assert seen.left == ["a line"] * 4
    assert through_pipe((sys.executable, "-c", code), tmp_path) == "a line\n" * 4


@pytest.mark.slow
def test_the_demo_says_how_things_stand_and_leaves_only_what_happened(tmp_path: Path) -> None:
    seen = on_screen((*AGENTCOM, "demo", "--tasks", "2", "--agents", "1"), 80, tmp_path)
    assert seen.code == 0, seen.text
    assert "the hub starts ..." in seen.text
    assert not [line for line in seen.left if "starts ..." in line or line.endswith("done, 0 failed")]
    assert seen.left[-1] == "every task was done exactly once"
    assert [line.split()[0] for line in seen.left if "done by mind-1" in line] == ["1/2", "2/2"]
