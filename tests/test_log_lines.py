"""The hub's log: no secrets, and nothing that plays with a terminal or passes for a line of its own."""

import io
import json
import logging

import pytest

from coordinator import log

TOKEN = "ac_" + "Ab1-" * 10 + "xyz"
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m red\r\n12:00:00 t-1: working -> done (root)\u202egnp"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def restore():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"Authorization: Bearer {TOKEN}",
        "authorization: Basic c2VjcmV0OnNlY3JldA==",
        "Bearer c2VjcmV0OnNlY3JldA",
        "fetching https://c2VjcmV0OnNlY3JldA@forge.example/x.git",
        "fetching https://me:c2VjcmV0OnNlY3JldA@forge.example/x.git failed",
        "X-Gitlab-Token: c2VjcmV0OnNlY3JldA",
    ],
)
def test_what_opens_a_door_is_redacted(text: str) -> None:
    assert "c2VjcmV0" not in log.redact(text)
    assert TOKEN not in log.redact(text)


def test_prose_stays_as_it_is() -> None:
    text = "t-1: working -> done (loash): the bearer of news at https://example.org/a@b, Basic English"
    assert log.redact(text) == text


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_every_event_is_one_line_without_controls(stream: io.StringIO, restore: None) -> None:
    log.set_up(stream)
    logging.getLogger("agentcom.hub").info("t-1: failed: %s", HOSTILE + TOKEN)
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert TOKEN not in line
    if not stream.isatty():
        assert json.loads(line)["level"] == "info"


def test_a_traceback_keeps_its_lines_and_loses_the_rest(restore: None) -> None:
    stream = Terminal()
    log.set_up(stream)
    try:
        raise RuntimeError(HOSTILE + TOKEN)
    except RuntimeError:
        logging.getLogger("agentcom.hub").exception("it failed")
    lines = stream.getvalue().splitlines()
    assert len(lines) > 3
    assert all(line.isprintable() for line in lines)
    assert TOKEN not in stream.getvalue()
