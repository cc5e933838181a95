"""`agentcom task ...` that write: the file, the commit, and why not, as a person sees it."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import Said
from support.repo import Clone, make_bare, make_repo
from support.state import keep_state

from coordinator.core.backlog import MapEntry
from coordinator.core.machine import State
from coordinator.core.policy import Lane
from coordinator.core.task import Origin, Priority, Spec, Status, Task
from coordinator.files import loader

Run = Callable[..., Said]
HUB_MADE = Spec(
    "t-hubmade1",
    "From the backlog",
    "All of it.",
    Priority.HIGH,
    labels=("web",),
    origin=Origin.BACKLOG,
    timeout_s=60.0,
)
LINE = MapEntry("t-hubmade1", "from the backlog", "ready", Lane.READY, 5, " ", "d", True)
DRAFT = MapEntry("t-draft111", "an idea", "inbox", Lane.DRAFT, 9, "", "d")


def hub_task(state: State = State.QUEUED, spec: Spec = HUB_MADE, **status) -> Task:
    finished = {"completed_at": 1_795_346_400_000} if state in (State.DONE, State.CANCELLED) else {}
    return Task(spec, Status(state, spec="b" * 40, **finished, **status))


def file_task(state: State, **status) -> Task:
    return hub_task(state, Spec("t-1", "One", where="tasks/t-1.yaml"), **status)


def spec(clone: Clone, task_id: str) -> Spec:
    path = f"tasks/{task_id}.yaml"
    read = loader.load_task(path, clone.show(path).encode(), "")
    assert isinstance(read, Spec), read
    return read


def only_change(clone: Clone) -> str:
    return clone.git("show", "--format=%an: %s", "--name-status", "HEAD")


def refuses(clone: Clone, said: Said, code: int, match: str) -> None:
    assert said.code == code, said
    assert re.search(match, said.err), said.err
    assert said.out == ""
    assert "Traceback" not in said.err


# --- new ------------------------------------------------------------------------------------------------------------


def test_a_new_task_is_one_file_in_one_commit_of_the_person(clone: Clone, run: Run) -> None:
    clone.write({"a.txt": "mine\n"})
    clone.git("add", "a.txt")
    said = run("task", "new", "Fix: it", "--priority", "high", "--needs", "a, b", "--label", "x", "--label", "y")
    assert said.code == 0
    (path,) = re.findall(r"tasks/t-[0-9a-hjkmnp-tv-z]{8}\.yaml", said.out)
    assert "no hub is running" in said.out
    made = spec(clone, Path(path).stem)
    assert (made.title, made.priority, made.needed_capabilities) == ("Fix: it", Priority.HIGH, ("a", "b"))
    assert made.labels == ("x", "y")
    assert only_change(clone) == f"Ada Lovelace: Add task {made.id}: Fix: it\n\nA\t{path}"
    assert clone.git("status", "--porcelain") == "M  a.txt"


def test_a_new_task_takes_every_option(clone: Clone, run: Run) -> None:
    clone.write({"text.md": "one\r\ntwo\r\n"})
    said = run(
        *("task", "new", "T", "--id", "t-1", "--description-file", "text.md", "--timeout", "30m", "--base", "main"),
        *("--deadline", "2026-12-01", "--review", "--hold", "--target-repo", "app", "--assignee", "loash"),
        *("--depends", "t-9", "--acceptance", "it: works", "--acceptance", "fast", "--json"),
    )
    assert said.json == {
        "schema_version": 1,
        "id": "t-1",
        "path": "tasks/t-1.yaml",
        "commit": clone.head(),
        "what": "created",
        "pushed": False,
        "taken_over": False,
        "hub_running": False,
    }
    assert clone.show("tasks/t-1.yaml") == (
        "title: T\ndescription: |\n  one\n  two\ndepends_on: [t-9]\nassignee: loash\ntimeout: 30m\n"
        "deadline: 2026-12-01\nreview: required\nhold: true\nrepo: app\nbase: main\nacceptance:\n"
        '  - "it: works"\n  - fast\n'
    )
    assert said.err.splitlines() == [
        "note: there is no task t-9 yet; until then t-1 waits",
        "note: there is no agent loash yet; until then t-1 waits",
    ]


def test_a_new_task_can_be_the_first_commit(tmp_path: Path, run: Run) -> None:
    clone = make_repo(tmp_path / "empty")
    assert run("task", "new", "T", "--id", "t-1", "--repo", str(clone.path)).code == 0
    assert clone.tree().keys() == {"tasks/t-1.yaml"}


def test_a_new_file_begins_as_the_others_do(clone: Clone, run: Run) -> None:
    begin = "# yaml-language-server: $schema=https://example.org/task.json\n"
    clone.commit({"tasks/t-0.yaml": begin + "title: x\n"})
    run("task", "new", "T", "--id", "t-1")
    assert clone.show("tasks/t-1.yaml") == begin + "title: T\n"


@pytest.mark.parametrize("where", ["file", "open", "closed", "line", "anchor"])
def test_an_id_that_is_in_use_anywhere_is_refused(clone: Clone, run: Run, where: str) -> None:
    if where == "file":
        clone.commit({"tasks/t-1.yaml": "title: x\n"})
    elif where == "anchor":
        clone.commit({"BACKLOG.md": "## Ready\n- a <!-- t-1 -->\n"})
    elif where == "line":
        keep_state(clone, lines=[MapEntry("t-1", "x", "ready", Lane.READY, 1)])
    else:
        keep_state(clone, [file_task(State.DONE if where == "closed" else State.QUEUED)])
    refuses(clone, run("task", "new", "T", "--id", "t-1"), 1, "the id t-1 is in use: choose another")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["T", "--id", "Bad"], "--id Bad: use lower-case letters"),
        (["T", "--id", "main"], "no reserved word"),
        (["T", "--timeout", "30"], "--timeout: expected a duration, got 30, write 30s or 30m"),
        (["T", "--deadline", "soon"], "--deadline: expected a time"),
        (["T", "--depends", "a,B C"], "--depends: B C is no id"),
        (["T", "--id", "t-1", "--depends", "t-1"], "t-1 cannot wait for itself"),
        (["T", "--target-repo", "a b"], "--target-repo: a b is no name"),
        (["T", "--priority", "highest"], "Invalid value for '--priority'"),
        (["x" * 301], "TITLE: longer than 300 characters, move the details to description"),
        ([" "], "TITLE: is empty"),
        (["T", "--description", "a", "--description-file", "-"], "exclude one another"),
        (["T", "--description-file", "nowhere"], "nowhere: No such file"),
        (["T\udcff"], "TITLE: is not UTF-8"),
    ],
)
def test_wrong_words_are_one_line_that_names_the_option(clone: Clone, run: Run, words: list[str], match: str) -> None:
    before = clone.snapshot()
    refuses(clone, run("task", "new", *words), 64, match)
    assert clone.snapshot() == before


def test_a_description_comes_from_standard_input(clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (clone.path / "text").write_text("from a pipe\n")
    with (clone.path / "text").open() as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        run("task", "new", "T", "--id", "t-1", "--description-file", "-")
    assert spec(clone, "t-1").description == "from a pipe\n"


# --- in the way -----------------------------------------------------------------------------------------------------


def test_edits_of_the_same_file_are_refused_and_others_left_alone(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\n"})
    clone.write({"tasks/t-1.yaml": "title: mine\n", "a.txt": "mine\n"})
    before = clone.snapshot()
    refuses(clone, run("task", "hold", "t-1"), 1, r"tasks/t-1\.yaml has edits that are not committed")
    assert clone.snapshot() == before
    clone.write({"tasks/t-2.yaml": "title: x\n"})
    refuses(clone, run("task", "hold", "t-2"), 1, "git add tasks/t-2.yaml && git commit -- tasks/t-2.yaml")


def test_another_branch_is_refused_before_anything_is_looked_up(clone: Clone, run: Run) -> None:
    keep_state(clone)
    clone.git("switch", "--quiet", "-c", "topic")
    refuses(clone, run("task", "hold", "t-1"), 1, "topic is checked out, but AgentCom reads main")


def test_a_wrong_file_is_refused_with_its_problem_lines(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "titel: x\n"})
    refuses(clone, run("task", "hold", "t-1"), 65, r"^tasks/t-1\.yaml:1:1: titel: unknown key, did you mean title\?\n")


def test_a_file_that_cannot_be_changed_without_touching_more_is_left_alone(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "{title: x, # why\n hold: false}\n"})
    refuses(clone, run("task", "hold", "t-1"), 65, "in braces with comments: edit it by hand")


def test_an_unknown_id_is_refused_with_those_that_are_near(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/fix-login.yaml": "title: x\n"})
    keep_state(clone, [hub_task()])
    refuses(clone, run("task", "hold", "fix-logn"), 1, "there is no task fix-logn: did you mean fix-login")
    refuses(clone, run("task", "hold", "t-hubmade2"), 1, "did you mean t-hubmade1")
    refuses(clone, run("task", "hold", "zzz"), 1, "there is no task zzz: `agentcom task list --all` shows the ids")
    refuses(clone, run("task", "hold", "../a"), 1, r"there is no task \.\./a")


def test_a_bare_repository_has_no_desk(tmp_path: Path, run: Run) -> None:
    bare = make_bare(tmp_path / "b.git")
    assert "has no work tree" in run("task", "hold", "t-1", "--repo", str(bare)).err


# --- words ----------------------------------------------------------------------------------------------------------


def test_only_the_key_that_was_asked_for_changes(clone: Clone, run: Run) -> None:
    text = "# mine\r\ntitle:   'x'   # why\r\n\r\nhold: false # not yet\r\nmetadata: { n: 012 }\r\n"
    clone.commit({"tasks/t-1.yaml": text})
    said = run("task", "hold", "t-1")
    assert "it waits until `agentcom task release t-1`" in said.out
    assert (clone.path / "tasks/t-1.yaml").read_bytes().decode() == text.replace("hold: false #", "hold: true  #")
    assert only_change(clone) == "Ada Lovelace: Hold task t-1\n\nM\ttasks/t-1.yaml"
    run("task", "release", "t-1")
    assert (clone.path / "tasks/t-1.yaml").read_bytes().decode() == text


def test_a_word_on_a_file_that_no_hub_has_read_yet(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\n"})
    assert run("task", "cancel", "t-1").code == 0
    assert spec(clone, "t-1").cancel
    refuses(clone, run("task", "rerun", "t-1"), 1, "no hub has read t-1 yet")
    refuses(clone, run("task", "answer", "t-1", "Blue"), 1, "t-1 asks nothing: no hub has read it yet")


def test_an_answer_speaks_of_the_generation_of_the_branch(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "title: One\n"})
    keep_state(clone, [file_task(State.BLOCKED, generation=4, assigned_to="loash", question="Which colour?")])
    assert run("task", "answer", "t-1", "Blue: no, green").code == 0
    answer = spec(clone, "t-1").answer
    assert answer is not None
    assert (answer.generation, answer.text) == (4, "Blue: no, green")
    refuses(clone, run("task", "answer", "t-1", " "), 64, "the answer is empty")
    refuses(clone, run("task", "approve", "t-1"), 1, "it is blocked, not in review")


@pytest.mark.parametrize(("word", "note", "approve"), [("approve", "", True), ("reject", "More tests.", False)])
def test_a_verdict_speaks_of_the_generation_of_the_branch(
    clone: Clone, run: Run, word: str, note: str, approve: bool
) -> None:
    clone.commit({"tasks/t-1.yaml": "title: One\n"})
    keep_state(clone, [file_task(State.IN_REVIEW, generation=3)])
    assert run("task", word, "t-1", *(["--note", note] if note else [])).code == 0
    decision = spec(clone, "t-1").decision
    assert decision is not None
    assert (decision.generation, decision.approve, decision.note) == (3, approve, note)


def test_a_rejection_needs_a_note(clone: Clone, run: Run) -> None:
    refuses(clone, run("task", "reject", "t-1"), 64, "say what should change: --note TEXT")


def test_a_rerun_goes_above_what_the_branch_counted(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "title: One\ncancel: true\nrerun: 2\n"})
    keep_state(clone, [file_task(State.CANCELLED, rerun=2)])
    refuses(clone, run("task", "cancel", "t-1"), 1, "t-1 is cancelled already")
    assert run("task", "rerun", "t-1").code == 0
    assert (spec(clone, "t-1").rerun, spec(clone, "t-1").cancel) == (3, False)
    refuses(clone, run("task", "rerun", "t-1"), 1, "says rerun: 3 already, and no hub has read it yet")


# --- tasks that the hub made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [Origin.BACKLOG, Origin.API])
def test_a_hub_made_task_is_taken_over_with_all_that_is_wanted_of_it(clone: Clone, run: Run, origin: Origin) -> None:
    made = Spec(**{**{name: getattr(HUB_MADE, name) for name in Spec.__dataclass_fields__}, "origin": origin})
    keep_state(clone, [hub_task(spec=made)], [LINE] if origin is Origin.BACKLOG else [])
    said = run("task", "hold", "t-hubmade1")
    from_line = " from BACKLOG.md:5" if origin is Origin.BACKLOG else ""
    assert f"it takes t-hubmade1 over{from_line}; " in said.out
    assert clone.show("tasks/t-hubmade1.yaml") == (
        "title: From the backlog\ndescription: All of it.\npriority: high\ntimeout: 1m\nlabels: [web]\nhold: true\n"
    )
    assert only_change(clone) == "Ada Lovelace: Hold task t-hubmade1\n\nA\ttasks/t-hubmade1.yaml"


def test_a_finished_hub_made_task_is_taken_over_to_run_again(clone: Clone, run: Run) -> None:
    spec_ = Spec("t-hubmade1", "From the backlog", cancel=True, origin=Origin.BACKLOG)
    keep_state(clone, [hub_task(State.CANCELLED, spec_, rerun=1)], [LINE])
    assert run("task", "rerun", "t-hubmade1", "--json").json["taken_over"] is True
    assert clone.show("tasks/t-hubmade1.yaml") == "title: From the backlog\nrerun: 2\n"


def test_an_edit_that_changes_nothing_takes_nothing_over(clone: Clone, run: Run) -> None:
    keep_state(clone, [hub_task()], [LINE])
    refuses(clone, run("task", "edit", "t-hubmade1", "--priority", "high"), 1, "says that already")
    assert not (clone.path / "tasks").exists()


def test_a_draft_is_no_task_and_its_line_is_named(clone: Clone, run: Run) -> None:
    keep_state(clone, lines=[DRAFT])
    refuses(clone, run("task", "hold", "t-draft111"), 1, "BACKLOG.md:9 is draft; move that line under a heading")


def test_a_task_whose_file_is_gone_says_how_to_bring_it_back(clone: Clone, run: Run) -> None:
    keep_state(clone, [file_task(State.DONE)])
    refuses(clone, run("task", "rerun", "t-1"), 1, r"tasks/t-1\.yaml is gone: bring it back from git")


def test_a_file_that_was_just_removed_is_waited_for(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-hubmade1.yaml": "title: mine\n"})
    keep_state(clone, [hub_task(spec=Spec("t-hubmade1", "mine"))], [LINE])
    clone.commit({"tasks/t-hubmade1.yaml": None})
    refuses(clone, run("task", "hold", "t-hubmade1"), 1, "no hub has read yet that tasks/t-hubmade1.yaml is gone")


def test_below_a_root_of_its_own_the_file_stands_there(clone: Clone, run: Run) -> None:
    clone.commit({"agentcom.yaml": "root: .agentcom\n"})
    assert run("task", "new", "T", "--id", "t-1", "--json").json["path"] == ".agentcom/tasks/t-1.yaml"
    assert run("task", "hold", "t-1").code == 0
    assert clone.show(".agentcom/tasks/t-1.yaml") == "title: T\nhold: true\n"


def test_line_ends_that_git_converts_stay_as_they_are_saved(clone: Clone, run: Run) -> None:
    clone.git("config", "core.autocrlf", "true")
    clone.write({"tasks/t-1.yaml": "title: x\r\n"})
    clone.commit()
    assert run("task", "hold", "t-1").code == 0
    assert (clone.path / "tasks/t-1.yaml").read_bytes() == b"title: x\r\nhold: true\r\n"
    assert clone.git("cat-file", "blob", "HEAD:tasks/t-1.yaml") == "title: x\nhold: true"
    assert clone.git("status", "--porcelain") == ""


def test_a_removed_file_gives_the_task_back_to_its_line(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-hubmade1.yaml": "title: mine\n"})
    keep_state(clone, [hub_task(spec=Spec("t-hubmade1", "mine"))], [LINE])
    said = run("task", "rm", "t-hubmade1")
    assert "BACKLOG.md:5 is in force again" in said.out
    assert only_change(clone) == "Ada Lovelace: Remove task t-hubmade1\n\nD\ttasks/t-hubmade1.yaml"


def test_a_hub_made_task_is_removed_by_deleting_its_line(clone: Clone, run: Run) -> None:
    keep_state(clone, [hub_task()], [LINE])
    refuses(clone, run("task", "rm", "t-hubmade1"), 1, "t-hubmade1 has no file: it is BACKLOG.md:5, delete that line")


# --- edit -----------------------------------------------------------------------------------------------------------


def test_an_edit_sets_keys_and_an_empty_text_takes_them_away(clone: Clone, run: Run) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\nassignee: a\nlabels: [b]\nreview: required\n"})
    said = run("task", "edit", "t-1", "--title", "z", "--assignee", "", "--label", "", "--no-review", "--timeout", "1h")
    assert said.code == 0
    assert clone.show("tasks/t-1.yaml") == "title: z\nreview: none\ntimeout: 1h\n"
    refuses(clone, run("task", "edit", "t-1", "--title", ""), 64, "--title: is empty")


def editor(clone: Clone, monkeypatch: pytest.MonkeyPatch, *scripts: str) -> None:
    """Let $EDITOR be a program that does one thing more at each call."""
    for number, script in enumerate(scripts, 1):
        (clone.path.parent / f"edit-{number}").write_text(script)
    program = clone.path.parent / "editor.sh"
    program.write_text('#!/bin/sh\ncd "$(dirname "$0")"; n=$(cat n); echo $((n + 1)) > n; . "./edit-$n"\n')
    program.chmod(0o755)
    (clone.path.parent / "n").write_text("1\n")
    monkeypatch.setenv("EDITOR", f"{program} --wait")
    monkeypatch.setenv("TMPDIR", str(clone.path.parent))


def test_the_editor_opens_a_copy_and_what_is_right_is_committed(
    clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_state(clone, [hub_task()], [LINE])
    editor(clone, monkeypatch, 'echo "rerun: 0 # mine" >> "$2"')
    assert run("task", "edit", "t-hubmade1").code == 0
    assert clone.show("tasks/t-hubmade1.yaml").endswith("labels: [web]\nrerun: 0 # mine\n")


def test_a_wrong_text_is_shown_again_until_it_is_right(clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\n"})
    editor(clone, monkeypatch, 'echo "titel: y" > "$2"', 'echo "title: y # right" > "$2"')
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_args, **_kwargs: True)
    said = run("task", "edit", "t-1")
    assert "tasks/t-1.yaml:1:1: titel: unknown key, did you mean title?" in said.err
    assert clone.show("tasks/t-1.yaml") == "title: y # right\n"


def test_a_text_that_stays_wrong_is_not_lost(clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\n"})
    editor(clone, monkeypatch, 'echo "titel: y" > "$2"')
    before = clone.snapshot()
    said = run("task", "edit", "t-1")
    refuses(clone, said, 65, "nothing is committed, your text is in ")
    assert Path(said.err.split("your text is in ")[1].strip()).read_text() == "titel: y\n"
    assert clone.snapshot() == before


def test_a_commit_that_is_refused_loses_no_text(clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\n"})
    editor(clone, monkeypatch, f'echo "title: y" > "$2"; echo "title: theirs" > {clone.path}/tasks/t-1.yaml')
    said = run("task", "edit", "t-1")
    refuses(clone, said, 1, "has edits that are not committed")
    assert Path(said.err.split("your text is in ")[1].strip()).read_text() == "title: y\n"


def test_a_file_that_somebody_else_committed_meanwhile_is_not_overwritten(
    clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\n"})
    theirs = f'cd {clone.path}; echo "title: theirs" > tasks/t-1.yaml; git commit -qam theirs'
    editor(clone, monkeypatch, f'echo "title: y" > "$2"; {theirs}')
    refuses(clone, run("task", "edit", "t-1"), 1, "was changed by somebody else meanwhile; .*your text is in ")
    assert clone.show("tasks/t-1.yaml") == "title: theirs\n"


def test_a_wrong_file_can_be_put_right_in_the_editor(clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.commit({"tasks/t-1.yaml": "titel: x\n"})
    editor(clone, monkeypatch, 'echo "title: x" > "$2"')
    assert run("task", "edit", "t-1").code == 0
    assert spec(clone, "t-1").title == "x"


@pytest.mark.parametrize(
    ("named", "code", "match"),
    [("true", 1, "nothing was changed"), ("false", 1, "ended with status 1"), ("no-such-editor", 78, "set EDITOR")],
)
def test_an_editor_that_does_nothing_changes_nothing(
    clone: Clone, run: Run, monkeypatch: pytest.MonkeyPatch, named: str, code: int, match: str
) -> None:
    clone.commit({"tasks/t-1.yaml": "title: x\n"})
    monkeypatch.setenv("VISUAL", named)
    monkeypatch.setenv("TMPDIR", str(clone.path.parent))
    refuses(clone, run("task", "edit", "t-1"), code, match)
    assert not list(clone.path.parent.glob("agentcom-*"))


# --- push -----------------------------------------------------------------------------------------------------------


def test_a_push_takes_the_commit_to_the_upstream(clone: Clone, run: Run, tmp_path: Path) -> None:
    clone.git("remote", "add", "origin", str(make_bare(tmp_path / "o.git")))
    clone.git("push", "--quiet", "-u", "origin", "main")
    assert run("task", "new", "T", "--push", "--json").json["pushed"] is True
    assert clone.head("origin/main") == clone.head()


def test_without_an_upstream_nothing_is_committed(clone: Clone, run: Run) -> None:
    before = clone.snapshot()
    refuses(clone, run("task", "new", "T", "--push"), 1, "main has no upstream to push to")
    assert clone.snapshot() == before


def test_a_refused_push_leaves_the_commit_and_says_what_git_says(clone: Clone, run: Run, tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "o.git")
    clone.git("remote", "add", "origin", str(bare))
    clone.git("push", "--quiet", "-u", "origin", "main")
    hook = bare / "hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho not on a Friday\nexit 1\n")
    hook.chmod(0o755)
    said = run("task", "new", "T", "--push", "--json")
    assert (said.code, said.json["pushed"], said.json["commit"]) == (1, False, clone.head())
    assert re.search("main was not pushed, the commit stays; git says: .*not on a Friday", said.err)
    assert said.err.count("\n") == 1


# --- the group ------------------------------------------------------------------------------------------------------


def test_help_names_every_command_without_importing_those_that_write(run: Run) -> None:
    for name in [name for name in sys.modules if name.startswith("coordinator.cli.task_")]:
        del sys.modules[name]
    said = run("task", "--help")
    assert said.code == 0
    assert all(f"\n  {name} " in said.out for name in "list show why new edit hold release cancel rerun rm".split())
    assert "coordinator.cli.task_word_cmd" not in sys.modules


def test_a_mistyped_command_is_told_from_the_near_one(run: Run) -> None:
    said = run("task", "relase", "t-1")
    assert (said.code, said.err) == (
        64,
        "agentcom task: No such command 'relase'. Did you mean 'release'; see `agentcom task --help`\n",
    )
