"""agentcom-report as an agent uses it: files in, lines out, without a sidecar; and what the sidecar then reads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from coordinator.wire.frames import FailureClass
from sidecar import config
from sidecar.folder import Folder
from sidecar.outcome import read_result
from sidecar.relay import Relay
from sidecar.report import CLASSES, Refused, run
from sidecar.spool import FILE_BYTES, Progress, Question, Request, Spool
from sidecar.values import Blocked, Failure, Key, Success

ANSWER = {"type": "task_updated", "task_id": "t-1", "generation": 1, "answer": "the left one"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "t-1.1"
    folder.mkdir(parents=True)
    (folder / "task.md").write_text("# AgentCom task t-1\n\nSweep the floor\n")
    (folder / "task.json").write_text(json.dumps({"task_id": "t-1", "title": "Sweep the floor"}))
    return folder


@pytest.fixture
def report(folder: Path):
    return lambda *words: run(words, {"AGENTCOM_TASK_FILE": str(folder / "task.md")})


def outcome(folder: Path):
    return read_result((folder / "result.json").read_bytes())


def refused(report, *words: str) -> Refused:
    with pytest.raises(Refused) as refusal:
        report(*words)
    assert "\n" not in str(refusal.value)
    return refusal.value


def test_show_prints_the_task_and_what_has_changed_since(folder, report):
    Spool(folder).update(ANSWER)
    Spool(folder).update({"type": "task_updated", "task_id": "t-1", "generation": 1, "title": "Sweep it twice"})
    said = report("show")
    assert said.startswith("# AgentCom task t-1")
    assert "answer: the left one" in said
    assert '"title": "Sweep it twice"' in said


def test_a_change_kept_by_a_sidecar_that_died_then_is_a_file_for_the_agent_after_the_next(folder):
    spool = Spool(folder)
    spool.update(ANSWER)
    spool.update({"type": "task_updated", "task_id": "t-1", "generation": 1, "title": "Sweep it twice"})
    newest = Folder(folder).spell_updates(spool.updates())
    assert newest == folder / "updates/0002.md"
    assert "Sweep it twice" in newest.read_text()
    assert "the left one" in (folder / "updates/0001.md").read_text()
    (folder / "updates/0001.md").write_text("read and noted")
    assert Folder(folder).spell_updates(spool.updates()) == newest
    assert (folder / "updates/0001.md").read_text() == "read and noted"


def test_a_reader_that_has_seen_enough_is_no_reason_to_say_that_nothing_was_reported(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "sidecar.report", "done", "swept"],
        env={**os.environ, "AGENTCOM_TASK_FILE": str(folder / "task.md")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 0)
    process.stderr.close()
    assert isinstance(outcome(folder), Success)


def test_started_leaves_the_mark_that_confirms_a_wake(folder, report):
    report("started")
    assert (folder / "confirmed").exists()


def test_progress_and_notes_are_read_once_and_together(folder, report):
    report("progress", "30")
    report("progress", "40.5", "half the table", "--tokens", "700")
    report("note", "the other half")
    spool = Spool(folder)
    assert spool.look() == [Progress(40.5, "half the table\nthe other half", 700)]
    assert spool.look() == []
    assert list((folder / "reports").iterdir()) == []


@pytest.mark.parametrize(
    "words", [["done", "swept", "--tokens", "12"], ["done", "--summary", "swept", "--tokens", "12"]]
)
def test_done_is_the_result_that_the_sidecar_reads(folder, report, words):
    report(*words)
    assert outcome(folder) == Success({"status": "success", "summary": "swept", "tokens_used": 12}, 12)


def test_done_needs_no_words(folder, report):
    report("done")
    assert isinstance(outcome(folder), Success)


@pytest.mark.parametrize("kind", get_args(FailureClass))
def test_fail_says_why_and_whose_fault_it_is(folder, report, kind):
    report("fail", "no broom", "--class", kind)
    assert outcome(folder) == Failure("no broom", kind)


def test_the_classes_are_those_of_the_wire():
    assert set(CLASSES) == set(get_args(FailureClass))


def test_block_ends_the_run_with_a_question(folder, report):
    report("block", "which broom?")
    assert outcome(folder) == Blocked("which broom?")


def test_done_twice_says_so_and_changes_nothing(folder, report):
    report("done", "swept")
    assert "was reported before" in report("done", "swept again")
    assert outcome(folder).result["summary"] == "swept"


def test_the_first_last_word_counts(folder, report):
    report("fail", "no broom")
    assert "'failed' was reported before" in str(refused(report, "done"))
    assert isinstance(outcome(folder), Failure)


def test_a_result_file_that_holds_nothing_is_no_last_word(folder, report):
    (folder / "result.json").write_text("{")
    report("done")
    assert isinstance(outcome(folder), Success)


def test_a_question_is_asked_once_and_open_until_it_is_answered(folder, report):
    report("ask", "which broom?")
    report("ask", "which broom?")
    spool = Spool(folder)
    assert spool.look() == [Question("which broom?")]
    assert spool.look() == []
    assert len(list((folder / "reports").iterdir())) == 1
    spool.update(ANSWER)
    assert spool.look() == [Question(None)]
    report("ask", "which broom?")
    assert spool.look() == [Question("which broom?")]


def test_the_newest_question_is_the_open_one_whatever_the_clock_does(folder, report, monkeypatch):
    for hour in (9, 8, 7):
        monkeypatch.setattr("time.time_ns", lambda hour=hour: hour * 3600 * 10**9)
        report("ask", f"is it {hour}?")
    assert Spool(folder).open_question() == "is it 7?"


def test_ask_and_wait_prints_the_answer(folder, report):
    report("ask", "which broom?")
    Spool(folder).update(ANSWER)
    assert report("ask", "--wait") == "the left one\n"


def test_an_answer_that_comes_again_by_its_number_is_kept_once(folder):
    spool = Spool(folder)
    spool.update(ANSWER | {"answer_number": 1})
    spool.update(ANSWER | {"answer_number": 1})
    spool.update(ANSWER | {"answer_number": 2})
    assert spool.answers() == ["the left one", "the left one"]


def test_waiting_ends_when_it_was_told_to_and_says_what_to_do(report):
    refusal = refused(report, "ask", "which broom?", "--within", "0")
    assert refusal.code == 75
    assert "ask --wait" in str(refusal)


def test_what_has_changed_is_printed_by_the_next_command_once(folder, report):
    Spool(folder).update(ANSWER)
    assert "answer: the left one" in report("progress", "5")
    assert "answer" not in report("progress", "6")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["finish"], "invalid choice: 'finish'"),
        (["progress"], "required: N"),
        (["progress", "half"], "invalid float value: 'half'"),
        (["progress", "120"], "give 0 to 100"),
        (["progress", "nan"], "give 0 to 100"),
        (["note", " "], "TEXT is empty"),
        (["done", "a", "--summary", "b"], "give one of them"),
        (["done", "--tokens", "many"], "invalid int value"),
        (["fail"], "required: TEXT"),
        (["fail", "x", "--class", "laziness"], "invalid choice: 'laziness'"),
        (["ask"], "what is the question?"),
        (["ask", "--wait"], "nothing was asked"),
    ],
)
def test_wrong_use_is_one_clear_line(report, words, hint):
    refusal = refused(report, *words)
    assert hint in str(refusal)
    assert refusal.code == 64


def test_a_word_that_is_too_long_is_refused_before_it_is_said(folder, report):
    assert "too long" in str(refused(report, "note", "x" * FILE_BYTES))
    assert "too long" in str(refused(report, "fail", "x" * FILE_BYTES))
    assert "KiB" in str(refused(report, "done", "x" * FILE_BYTES))
    assert not (folder / "result.json").exists()


def test_outside_of_a_task_it_says_so():
    with pytest.raises(Refused, match="this is no AgentCom task"):
        run(["done"], {})


def test_after_the_folder_was_cleared_it_says_so(folder, report):
    (folder / "task.md").unlink()
    assert "is gone" in str(refused(report, "done"))


@pytest.mark.parametrize("text", ["\ud800", "$(touch pwned)", "a\nb", "\x1b[31m", "é" * 1000])
def test_any_words_arrive(folder, report, text):
    report("note", text)
    (heard,) = Spool(folder).look()
    assert heard.note == text.encode(errors="replace").decode()


def test_what_is_no_report_is_passed_over_and_makes_nobody_wait(folder, report):
    report("progress", "10")
    os.mkfifo(folder / "reports" / "00-progress.json")
    (folder / "reports" / "01-progress.json").write_text("[1]")
    (folder / "reports" / "04-progress.json").mkdir()
    (folder / "reports" / "02-progress.json").write_text('{"progress": true, "note": 5, "tokens": 1e400}')
    (folder / "reports" / "03-question.json").write_text('{"question": 5}')
    assert Spool(folder).look() == [Progress(10.0)]


def test_a_request_is_answered_in_the_order_of_asking(folder):
    agent, sidecar = Spool(folder), Spool(folder)
    first, second = agent.request({"do": "a"}), agent.request({"do": "b"})
    assert [request.body for request in sidecar.requests()] == [{"do": "a"}, {"do": "b"}]
    sidecar.answer(first, {"status": 200})
    assert agent.reply(first) == {"status": 200}
    assert agent.reply(second) is None
    assert list(sidecar.requests()) == [second]


def test_a_request_that_cannot_be_read_is_answered(folder):
    spool = Spool(folder)
    spool.request({})
    (path,) = (folder / "requests").iterdir()
    path.write_text("{")
    assert list(spool.requests()) == []
    assert spool.reply(Request(path.stem, {})) == {"error": "this request cannot be read"}


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (["done"], ["fsync file", "link result.json", "fsync t-1.1"]),
        (["ask", "which?"], ["fsync file", "replace 00000001-PID-question.json", "fsync reports"]),
        (["started"], ["fsync file", "replace confirmed", "fsync t-1.1"]),
    ],
)
def test_a_word_is_on_disk_with_its_name_before_the_command_ends(report, monkeypatch, words, steps):
    seen: list[str] = []
    real = {name: getattr(os, name) for name in ("fsync", "link", "replace")}

    def fsync(handle):
        path = Path(f"/proc/self/fd/{handle}").readlink()
        seen.append(f"fsync {path.name if path.is_dir() else 'file'}")
        real["fsync"](handle)

    def named(name):
        def call(old, new):
            seen.append(f"{name} {Path(new).name.replace(str(os.getpid()), 'PID')}")
            real[name](old, new)

        return call

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", named("link"))
    monkeypatch.setattr(os, "replace", named("replace"))
    report(*words)
    assert seen == steps


def test_where_there_are_no_hard_links_the_last_word_is_kept_all_the_same(folder, report, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", none)
    report("done", "swept")
    assert "was reported before" in report("done", "swept again")
    assert outcome(folder).result["summary"] == "swept"
    assert [entry.name for entry in folder.iterdir() if entry.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "unknown request; known are mailbox_list"),
        ({"do": "delete_everything"}, "unknown request"),
        ({"do": "mailbox_list", "since": "now"}, "invalid literal"),
        ({"do": "mailbox_ack", "seq": [1]}, "int()"),
    ],
)
def test_what_a_sidecar_does_not_do_at_the_hub_is_said_and_nothing_is_sent(tmp_path, body, words):
    said = {"agent_id": "loash", "token": "t", "hub_url": "ws://hub.invalid", "runtime": {"name": "fake"}}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(said))
    assert words in Relay(config.load(file)).perform(Key("t-1", 1), Request("1", body))["error"]


def test_the_command_starts_without_anything_heavy():
    code = (
        "import sys, sidecar.report\n"
        "heavy = 'pydantic click asyncio coordinator.wire.frames websockets yaml subprocess typing_extensions ssl'\n"
        "sys.exit(' '.join(name for name in heavy.split() if name in sys.modules) or 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_is_installed_and_answers_with_a_line_and_a_code(folder):
    program = Path(sys.executable).with_name("agentcom-report")
    environment = {"AGENTCOM_TASK_FILE": str(folder / "task.md")}
    done = subprocess.run([program, "done", "swept"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "t-1: done; end now, everything else is the sidecar's\n")
    wrong = subprocess.run([program, "finish"], env=environment, capture_output=True, text=True, check=False)
    assert wrong.returncode == 64
    assert wrong.stderr.startswith("agentcom-report: ")
    assert wrong.stderr.count("\n") == 1
