"""What an agent, its programs and this machine may do to a sidecar, and what the hub hears of it nevertheless."""

import signal
from pathlib import Path
from typing import Any

import pytest

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
