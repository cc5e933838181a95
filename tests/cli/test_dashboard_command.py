"""``agentcom dashboard``: links, and pages without a hub."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from support.cli import Said
from support.fetching import ask, fetch
from support.repo import Clone, git_env

from coordinator.place import Place

Run = Callable[..., Said]
_NAMED = ("--public-url", "http://machine.example")


def test_a_link_needs_a_hub_that_ran_once(clone: Clone, run: Run) -> None:
    said = run("dashboard", "link")
    assert said.code == 66
    assert said.err == "agentcom: this clone has no admin token yet: start its hub once with `agentcom hub`\n"


def test_a_link_leads_to_where_the_dashboard_is(clone: Clone, run: Run) -> None:
    Place(clone.path / ".git" / "agentcom").admin_token()
    assert run("dashboard", "link").out.startswith("http://127.0.0.1:4000/dashboard/enter?key=")
    said = run("dashboard", "link", "--url", "https://hub.example", "--days", "2", "--json")
    assert said.json["url"].startswith("https://hub.example/dashboard/enter?key=")
    assert said.json["until"].endswith("Z")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("link", "--url", "ftp://x"), 64),
        (("link", "--days", "0"), 64),
        (("--listen", "4080"), 64),
        (("--listen", "x:99999"), 64),
        (("--listen", "0.0.0.0:0"), 78),
        (("--tls-cert", "x.pem"), 64),
    ],
)
def test_a_slip_of_the_pen_is_one_line(clone: Clone, run: Run, words: tuple[str, ...], code: int) -> None:
    Place(clone.path / ".git" / "agentcom").admin_token()
    said = run("dashboard", *words)
    assert (said.code, said.err.count("\n")) == (code, 1)


@pytest.mark.slow
def test_pages_elsewhere_than_on_loopback_ask_for_a_link(clone: Clone, run: Run) -> None:
    argv = (sys.executable, "-m", "coordinator", "dashboard", "--listen", "0.0.0.0:0", "--plain", *_NAMED)
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, cwd=clone.path, env={**git_env(), "PYTHONUNBUFFERED": "1"}
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().decode().strip().removesuffix("/dashboard").rpartition(":")[2]
            assert b"others need a link" in process.stdout.readline()
            base = f"http://127.0.0.1:{port}"
            status, _, text = fetch(f"{base}/dashboard")
            assert (status, "start one with" in text) == (200, True)
            assert fetch(f"{base}/dashboard", Host="machine.example")[0] == 401
            link = run("dashboard", "link", "--url", base).out.strip()
            cookie = fetch(link, Host="machine.example")[1]["set-cookie"].partition(";")[0]
            assert fetch(f"{base}/dashboard", Host="machine.example", Cookie=cookie)[0] == 200
            connection, stream = ask(f"{base}/dashboard/stream", Host="machine.example", Cookie=cookie)
            assert stream.status == 200
            connection.close()
        finally:
            os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
