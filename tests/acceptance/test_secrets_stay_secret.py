"""A hub with every secret that there is, used rightly and wrongly: afterwards none of them stands anywhere."""

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hubprocess import HubProcess
from support.repo import Clone, git_env, make_bare, make_repo
from support.waiting import until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from coordinator.place import Place, new_token
from coordinator.web.auth import digest

pytestmark = pytest.mark.slow

PASSWORD = "canaryPASSw0rdOfTheRemote"
FORGE = "canaryTokenOfTheForge"
BACKLOG = "# Backlog\n\n## Ready\n\n- [ ] one\n"
#: Where secrets belong, under the git directory.
THEIR_PLACES = ("admin.token", "hook.secret", "config")
WORK = """\
#!/bin/sh
cat "{config}"
token=$(sed -n 's/^token: //p' "{config}")
printf '{"status": "failed", "reason": "401 for %s"}' "$token" > "$AGENTCOM_RESULT_FILE"
"""


def ask(url: str, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> bytes:
    """Return whatever is answered."""
    request = urllib.request.Request(f"{url}{path}", body, headers, method=method)  # noqa: S310 - the hub's own address
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return bytes(answer.read()) + str(answer.headers).encode()
    except urllib.error.HTTPError as error:
        with error:
            return bytes(error.read()) + str(error.headers).encode()


def identify(url: str, token: str) -> bytes:
    heard = b""
    with contextlib.suppress(ConnectionClosed), connect(url.replace("http", "ws") + "/ws") as link:
        link.send(json.dumps({"type": "identify", "agent_id": "loash", "token": token}))
        while True:
            heard += str(link.recv(20)).encode()
    return heard


@contextlib.contextmanager
def sidecar(folder: Path, url: str, token: str) -> Iterator[Path]:
    folder.mkdir()
    config = folder / "sidecar.yaml"
    (folder / "work.sh").write_text(WORK.replace("{config}", str(config)))
    (folder / "work.sh").chmod(0o755)
    config.touch(0o600)
    hub = url.replace("http", "ws") + "/ws"
    config.write_text(f"agent_id: loash\ntoken: {token}\nhub_url: {hub}\nruntime: {{name: shell, argv: [./work.sh]}}\n")
    log = folder.parent / "sidecar.stderr"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "run", "--config", str(config)], stdout=said, stderr=said, env=git_env()
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(60)


def everything(clone: Clone) -> Iterator[tuple[str, bytes]]:
    """Yield every git object and every file of the hub, by name."""
    listed = clone.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    for name in listed:
        argv = ["git", "cat-file", "-p", name]
        yield name, subprocess.run(argv, cwd=clone.path, capture_output=True, check=True, env=git_env()).stdout
    for folder, _, names in os.walk(clone.path / ".git"):
        for name in names:
            if name not in THEIR_PLACES:
                yield f"{folder}/{name}", (Path(folder) / name).read_bytes()


def test_no_log_answer_commit_or_database_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTCOM_HOOK_SECRET", raising=False)
    monkeypatch.setenv("GITHUB_TOKEN", FORGE)
    agent, wrong = new_token(), new_token()
    bare = make_bare(tmp_path / "remote.git")
    person = make_repo(
        tmp_path / "person",
        {
            "BACKLOG.md": BACKLOG,
            "agentcom.yaml": "retries: {max: 0}\n",
            "agents/loash.yaml": f"name: loash\ntokens: [{{sha256: {digest(agent)}}}]\n",
        },
    )
    person.git("remote", "add", "origin", str(bare))
    person.git("push", "--quiet", "-u", "origin", "main")
    with HubProcess(tmp_path / "hub", ("--remote", str(bare))) as hub:
        assert hub.ready, hub.said
    clone = Clone(tmp_path / "hub")
    clone.git("remote", "set-url", "origin", f"https://{PASSWORD}@127.0.0.1:1/x.git")
    place = Place(clone.path / ".git" / "agentcom")
    secrets = {
        "admin": place.admin_token(),
        "hook": place.hook_secret(),
        "agent": agent,
        "wrong": wrong,
        "remote": PASSWORD,
        "forge": FORGE,
    }
    answers: list[bytes] = []
    hub = HubProcess(tmp_path / "hub").start()
    try:
        assert hub.ready, hub.said
        with sidecar(tmp_path / "loash", hub.url, agent) as its_log:
            until(lambda: hub.client.get("/api/status")["by_status"]["failed"] == 1, say=lambda: hub.said)
        answers.append(identify(hub.url, wrong))
        for token in (wrong, secrets["admin"], agent):
            bearer = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            for path in ("tasks", "agents", "problems", "status", "messages", "agents/states", "dashboard/state", "x"):
                answers.append(ask(hub.url, "GET", f"/api/{path}?token={token}", bearer))
            said = json.dumps({"payload": {"text": "hello"}, "to": "loash"}).encode()
            answers.append(ask(hub.url, "POST", "/api/message", bearer, said))
            answers.append(ask(hub.url, "POST", "/api/message", bearer, b"{"))
            answers.append(ask(hub.url, "POST", "/api/reconcile", bearer))
        answers.append(ask(hub.url, "GET", "/api/tasks", {"Authorization": f"Basic {PASSWORD}"}))
        for name in ("X-Gitlab-Token", "X-Hub-Signature-256"):
            for secret in (secrets["hook"], wrong):
                answers.append(ask(hub.url, "POST", "/hooks/git", {name: secret}, b"{}"))
        answers += [ask(hub.url, "GET", path, {}) for path in ("/metrics", "/health", "/ready", f"/{wrong}")]
        assert "Traceback" not in hub.said
    finally:
        hub.stop()
    found = [("hub's log", hub.said.encode()), ("sidecar's log", its_log.read_bytes())]
    found += [(f"answer {number}", answer) for number, answer in enumerate(answers)]
    found += list(everything(clone))
    assert len(found) > 60
    assert any(b"401 for [token]" in content for _, content in found)
    for name, content in found:
        for which, secret in secrets.items():
            assert secret.encode() not in content, f"{which} in {name}"
