"""``agentcom up`` as somebody with a laptop uses it: one terminal, one Ctrl-C, and everything in between."""

import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.repo import Clone, git_env, make_repo

pytestmark = pytest.mark.slow

SOON = 60.0


class Terminal:
    """One ``agentcom up``, and the lines that it has shown so far."""

    def __init__(self, directory: Path, *options: str) -> None:
        argv = (sys.executable, "-m", "coordinator", "up", str(directory), "--port", "0", *options)
        env = {**git_env(), "PYTHONUNBUFFERED": "1"}
        for name in ("NAME", "EMAIL"):
            for who in ("AUTHOR", "COMMITTER"):
                env[f"GIT_{who}_{name}"] = "ada" if name == "NAME" else "ada@example.org"
        self.env = env
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def until(self, words: str) -> str:
        """Wait for a line with these words; return it."""
        while True:
            try:
                line = self._new.get(timeout=SOON)
            except queue.Empty:
                raise AssertionError("\n".join([f"it never said {words}:", *self.lines])) from None
            assert line is not None, "\n".join(["it ended:", *self.lines])
            self.lines.append(line)
            if words in line:
                return line

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(how)
        while (line := self._new.get(timeout=SOON)) is not None:
            self.lines.append(line)
        return self.process.wait(SOON)


@pytest.fixture
def open_terminal() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        if terminal.process.poll() is None:
            terminal.end(signal.SIGTERM)
        assert terminal.process.stdout is not None
        terminal.process.stdout.close()


def children(pid: int) -> set[int]:
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_from_an_empty_folder_to_finished_work_and_on_at_the_next_start(tmp_path: Path, open_terminal) -> None:
    place = tmp_path / "project"
    up = Terminal(place, "--runtime", "fake", "--runtime", "fake")
    open_terminal.append(up)
    up.until("fake is ready (fake, dev)")
    up.until("fake-2 is ready (fake, dev)")
    up.until("dashboard: http://127.0.0.1:")
    up.until("watch: watching")
    ours = children(up.process.pid)
    assert len(ours) == 4
    add = (sys.executable, "-m", "coordinator", "add", "Write the number 7 to test-output-7.txt", "--repo", str(place))
    subprocess.run(add, check=True, capture_output=True, env=up.env)
    assert up.until("working -> in_review").endswith(": Write the number 7 to test-output-7.txt")
    assert "diff HEAD...fake/t-" in up.until("-> look at it: git -C")
    merge = up.until("-> take the result: ").partition("result: ")[2].split()
    subprocess.run(merge, check=True, capture_output=True, env=up.env)
    assert (place / "test-output-7.txt").read_text() == "7\n"
    up.until("in_review -> done")
    assert up.end() == 0
    assert up.lines[-1].endswith("1 done, 0 failed")
    assert not [pid for pid in ours if Path(f"/proc/{pid}").exists()], "nothing is left running"

    again = Terminal(place, "--runtime", "fake")
    open_terminal.append(again)
    again.until("fake is ready")
    assert not [line for line in again.lines if "checking" in line], "an agent that was checked is not asked again"
    assert again.end(signal.SIGTERM) == 0


def test_a_hub_that_dies_comes_back_and_work_goes_on(tmp_path: Path, open_terminal) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n"})
    up = Terminal(clone.path, "--runtime", "fake", "--no-watch")
    open_terminal.append(up)
    up.until("dashboard: ")
    hub = next(pid for pid in children(up.process.pid) if b"\0hub\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(hub, signal.SIGKILL)
    assert "hub was killed by signal 9" in up.until("started again in")
    clone.commit({"BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] Write the number 7\n"})
    up.until("working -> in_review")
    assert up.end() == 0
    assert up.lines[-1].endswith("1 task waits for you: agentcom status")
    again = Terminal(clone.path, "--runtime", "fake", "--no-watch")
    open_terminal.append(again)
    again.until("1 task waits for you: agentcom status")
    assert again.end() == 0


def test_what_was_decided_while_nothing_ran_is_told_at_the_next_start(tmp_path: Path, open_terminal) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n"})
    first = Terminal(clone.path, "--runtime", "fake", "--no-watch")
    open_terminal.append(first)
    first.until("dashboard: ")
    clone.commit({"BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] Write a poem\n"})
    approve = shlex.split(first.until("-> take the result: agentcom ").partition("result: agentcom ")[2])
    assert first.end() == 0
    argv = (sys.executable, "-m", "coordinator", *approve, "--repo", str(clone.path))
    subprocess.run(argv, check=True, capture_output=True, env=first.env)
    again = Terminal(clone.path, "--runtime", "fake", "--no-watch")
    open_terminal.append(again)
    again.until("in_review -> done")
    assert again.end() == 0
    assert again.lines[-1].endswith("1 done, 0 failed")
    assert not [line for line in again.lines if "got a token" in line or "starts, epoch" in line]


def test_a_question_is_told_and_answered_with_the_line_below_it(tmp_path: Path, open_terminal) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n"})
    up = Terminal(clone.path, "--runtime", "fake", "--no-watch")
    open_terminal.append(up)
    up.until("dashboard: ")
    clone.commit({"BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] Which colour?\n"})
    assert up.until("working -> blocked").endswith("it asks: I only pretend, so you tell me: Which colour?")
    answer = shlex.split(up.until("-> answer its question: ").partition("question: agentcom ")[2])
    argv = (sys.executable, "-m", "coordinator", *answer, "--repo", str(clone.path))
    subprocess.run(argv, check=True, capture_output=True, env=up.env)
    up.until("working -> in_review")
    assert up.end() == 0
    shown = subprocess.run(
        (sys.executable, "-m", "coordinator", "task", "show", answer[2], "--repo", str(clone.path)),
        check=True,
        capture_output=True,
        text=True,
        env=up.env,
    ).stdout
    assert "done: Which colour? Answer: YOUR ANSWER" in shown
    assert "  answered  YOUR ANSWER" in shown
    assert "working -> blocked (fake): I only pretend, so you tell me: Which colour?" in shown
    assert "blocked -> queued (ada): YOUR ANSWER" in shown


def test_what_runs_already_is_used(tmp_path: Path, open_terminal) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n"})
    first = Terminal(clone.path, "--runtime", "fake")
    open_terminal.append(first)
    first.until("watch: watching")
    second = Terminal(clone.path, "--runtime", "fake")
    open_terminal.append(second)
    second.until("a hub of this repository runs already at")
    second.until("fake runs already: it is used")
    second.until("an `agentcom watch` runs here already: it is used")
    assert second.end() == 0
    assert first.end() == 0


def test_what_an_agent_had_in_hand_at_the_end_goes_on_at_the_next_start(tmp_path: Path, open_terminal) -> None:
    clone = make_repo(tmp_path / "r", {"BACKLOG.md": "# Backlog\n"})
    slow = tmp_path / "slow.sh"
    checked = tmp_path / "checked"
    slow.write_text(f"""#!/bin/sh
test -e {checked} && exec sleep 600
touch {checked}
echo '{{"status": "success"}}' > "$AGENTCOM_RESULT_FILE"
""")
    slow.chmod(0o755)
    up = Terminal(clone.path, "--runtime", f"shell:{slow}", "--no-watch")
    open_terminal.append(up)
    up.until("dashboard: ")
    clone.commit({"BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] Take long\n"})
    up.until("queued -> assigned")
    assert up.end() == 0
    assert [line for line in up.lines if "working -> queued (shell)" in line]
    assert up.lines[-1].endswith("1 task goes on at the next start: agentcom up")


def test_a_taken_port_a_missing_program_and_an_agent_of_that_name_stop_nothing_else(
    tmp_path: Path, open_terminal
) -> None:
    clone = make_repo(tmp_path / "r", {"agents/fake.yaml": "name: Somebody\n"})
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = Terminal(clone.path, "--runtime", "fake", "--port", str(taken.getsockname()[1]))
        open_terminal.append(up)
        up.until("fake-2 is ready")
        assert up.end() == 0
    gone = Terminal(clone.path, "--runtime", "shell:./nowhere.sh")
    open_terminal.append(gone)
    assert "nowhere.sh is not there, or cannot be executed" in gone.until("nowhere.sh")
    assert gone.process.wait(SOON) == 64


def test_an_agent_that_cannot_do_its_test_task_is_named_with_what_to_do(tmp_path: Path, open_terminal) -> None:
    clone = Clone(tmp_path / "r")
    broken = tmp_path / "broken.sh"
    broken.write_text("#!/bin/sh\necho no luck\nexit 1\n")
    broken.chmod(0o755)
    up = Terminal(clone.path, "--runtime", f"shell:{broken}")
    open_terminal.append(up)
    assert "left no result file" in up.until("shell cannot work")
    up.until("no agent can work yet")
    assert up.end() == 0
