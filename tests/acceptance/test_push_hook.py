"""A forge that tells of a push: the hub fetches at once, with a secret that was made while it ran."""

import hashlib
import hmac
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support.hubprocess import HubProcess
from support.repo import Clone, make_bare, make_repo
from support.waiting import until

from coordinator.place import Place

pytestmark = pytest.mark.slow

ONE = "# Backlog\n\n## Ready\n\n- [ ] one\n"


def knock(url: str, secret: str, body: bytes = b'{"ref":"refs/heads/--upload-pack=evil"}') -> int:
    signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signed}"}
    request = urllib.request.Request(f"{url}/hooks/git", body, headers)  # noqa: S310 - the hub's own address
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_push_is_seen_long_before_the_hub_would_ask_by_itself(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "remote.git")
    person = make_repo(tmp_path / "person", {"BACKLOG.md": ONE})
    person.git("remote", "add", "origin", str(bare))
    person.git("push", "--quiet", "-u", "origin", "main")
    with HubProcess(tmp_path / "hub", ("--remote", str(bare))) as hub:
        assert hub.ready, hub.said
        assert knock(hub.url, "not made yet") == 404
        secret = Place(Clone(tmp_path / "hub").path / ".git" / "agentcom").hook_secret()
        assert knock(hub.url, "wrong") == 401
        tip = person.commit({"BACKLOG.md": ONE + "- [ ] two\n"})
        person.git("push", "--quiet")
        assert knock(hub.url, secret) == 202
        until(lambda: hub.client.get("/api/status")["observed_commit"] == tip, within=20.0, say=lambda: hub.said)
    assert secret not in hub.said
