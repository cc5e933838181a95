"""What an agent, its programs and this machine may do to a sidecar, and what the hub hears of it nevertheless."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.sidecars import alive, until
from support.waiting import SOON
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from sidecar import launch
from sidecar.folder import read_result_file

pytestmark = pytest.mark.slow

#: Half of a character outside of the BMP, as a JavaScript program writes a text that it has cut in the middle of one.
HALF = "\\ud83d"


def agent(*commands: str, **more: Any) -> dict[str, Any]:
    """A runtime that runs these lines of shell."""
    return {"name": "shell", "argv": ["sh", "-ec", "\n".join(commands)], **more}


async def at_work(hub: Any, sidecar: Any) -> Any:
    await sidecar.start()
    session = await hub.session()
    await session.assign("t-1", 1, "sweep the floor")
    await session.expect("task_accepted")
    return session


async def test_half_a_character_in_a_note_or_a_question_ends_no_sidecar(hub, sidecars):
    reports = 'mkdir -p "$(dirname "$AGENTCOM_TASK_FILE")/reports"; cd "$(dirname "$AGENTCOM_TASK_FILE")/reports"'
    note = f"""printf '%s' '{{"note": "half {HALF}"}}' > 1-note.json"""
    question = f"""printf '%s' '{{"question": "which {HALF}?", "answers": 0}}' > .2; mv .2 2-question.json"""
    sidecar = sidecars(runtime=agent(reports, note, question, "exec sleep 600"))
    session = await at_work(hub, sidecar)
    assert (await session.expect("task_blocked"))["question"].startswith("which ")
    assert session.said("task_progress")[-1]["note"].startswith("half ")
    await sidecar.end(signal.SIGKILL)
    await sidecar.start()
    assert (await (await hub.session()).expect("task_blocked"))["question"].startswith("which ")


async def test_a_pipe_in_the_place_of_the_result_holds_up_nobody(hub, sidecars):
    sidecar = sidecars(runtime=agent('mkfifo "$AGENTCOM_RESULT_FILE"', "echo done"))
    session = await at_work(hub, sidecar)
    assert "no plain file" in (await session.expect("task_failed"))["error"]
    code, _ = await sidecar.end(signal.SIGTERM)
    assert code == 0


def test_a_folder_in_the_place_of_the_result_is_a_failed_result(tmp_path: Path):
    said = read_result_file(tmp_path)
    assert said is not None
    assert b"no plain file" in said


async def test_what_a_killed_launcher_leaves_is_dead_before_the_hub_hears_of_the_end(hub, sidecars):
    script = (
        "import os, subprocess, sys, time\n"
        "far = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "open('.far', 'w').write(str(far.pid))\n"
        "os.rename('.far', 'far')\n"
        "time.sleep(600)\n"
    )
    sidecar = sidecars(runtime={"name": "shell", "argv": [sys.executable, "-c", script]})
    session = await at_work(hub, sidecar)
    await until((sidecar.work / "far").exists)
    far = int((sidecar.work / "far").read_text())
    record = json.loads((sidecar.home / "results/t-1.1/process.json").read_text())
    os.kill(record["launcher"], signal.SIGKILL)
    await session.expect("task_failed", task_id="t-1")
    assert not alive(far)


def test_a_launcher_that_can_write_no_record_still_ends_the_whole_family(tmp_path):
    script = (
        "import subprocess, sys\n"
        "far = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "open('far', 'w').write(str(far.pid))\n"
    )
    spec = {
        "argv": [sys.executable, "-c", script],
        "cwd": str(tmp_path),
        "log": str(tmp_path / "output.log"),
        "log_limit": 1000,
        "record": str(tmp_path / "missing" / "process.json"),
        "grace": 0.2,
    }
    assert _launch(tmp_path, spec)["code"] == 0
    assert not alive(int((tmp_path / "far").read_text()))
    spec["log"] = str(tmp_path / "missing" / "output.log")
    said = _launch(tmp_path, spec)
    assert said["code"] is None
    assert said["error"] == f"{spec['log']}: No such file or directory"


def _launch(folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    file = folder / "launch.json"
    file.write_text(json.dumps(spec))
    argv = (sys.executable, "-I", "-S", launch.__file__, str(file))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        return json.loads(launcher.stdout.read())


async def test_the_token_is_in_nothing_that_the_hub_is_told(hub, sidecars):
    sidecar = sidecars()
    secret = f'"$(sed \'s/.*"token": "\\([^"]*\\)".*/\\1/\' {sidecar.file})"'
    sidecar.config["runtime"] |= agent(
        f"secret={secret}", "agentcom-report progress 5 $secret", 'echo "$secret"', "agentcom-report fail $secret"
    )
    session = await at_work(hub, sidecar)
    failed = await session.expect("task_failed")
    assert failed["error"].endswith("[token]")
    assert failed["output_tail"].splitlines()[1] == "[token]"
    assert not any(hub.token in str(frame) for frame in session.frames)


@contextmanager
def opened(folder: Path, name: str) -> Iterator[threading.Event]:
    """Give an event that tells when somebody opens a file of a folder from now on."""
    event = threading.Event()

    class Seen(FileSystemEventHandler):
        def on_opened(self, seen: FileSystemEvent) -> None:
            if Path(str(seen.src_path)).name == name:
                event.set()

    observer = Observer()
    observer.schedule(Seen(), str(folder))
    observer.start()
    try:
        yield event
    finally:
        observer.stop()
        observer.join()


async def test_a_sidecar_starts_while_somebody_asks_for_its_status(hub, sidecars):
    from filelock import FileLock

    sidecar = sidecars()
    asking = FileLock(sidecar.home / "sidecar.lock")
    asking.acquire()
    with opened(sidecar.home, "sidecar.lock") as wanted:
        await sidecar.start()
        assert await asyncio.to_thread(wanted.wait, SOON)
    asking.release()
    await hub.session()


async def test_a_state_folder_that_cannot_be_written_is_one_clear_line(hub, sidecars):
    sidecar = sidecars()
    (sidecar.home / "sidecar.lock").mkdir()
    await sidecar.start()
    code, stderr = await sidecar.end()
    assert code == 78
    assert len(stderr.splitlines()) == 1, stderr
    assert "sidecar.lock" in stderr


async def test_a_redirect_takes_the_token_nowhere(hub, sidecars):
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", hub.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            sidecar = sidecars(hub_url=f"ws://127.0.0.1:{server.server_port}/ws")
            await sidecar.start()
            await until(lambda: len(asked) >= 2)
            code, stderr = await sidecar.end(signal.SIGTERM)
        finally:
            await asyncio.to_thread(server.shutdown)
            thread.join()
    assert code == 0
    assert "HTTP 302, is this an AgentCom hub?" in stderr
    assert hub.identifies == []
