"""What an agent proposes by way of its sidecar, at a real hub."""

import json
from pathlib import Path

import pytest
from support.hubprocess import HubProcess
from support.repo import make_repo

from coordinator.web.auth import digest
from sidecar.config import load
from sidecar.relay import Relay
from sidecar.spool import Request
from sidecar.values import Key

pytestmark = pytest.mark.slow

TOKEN = "ac_" + "x" * 43


def test_a_proposal_is_held_for_a_person_and_made_once_however_often_it_is_sent(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "r", {"agents/loash.yaml": f"tokens: [{{sha256: {digest(TOKEN)}}}]\n"})
    with HubProcess(clone.path) as hub:
        file = tmp_path / "sidecar.json"
        said = {"agent_id": "loash", "token": TOKEN, "hub_url": hub.url, "runtime": {"name": "fake"}}
        file.write_text(json.dumps(said))
        relay = Relay(load(file))
        request = Request("0001", {"do": "propose_task", "title": "Buy a broom"})
        first, again = (relay.perform(Key("t-1", 1), request) for _ in range(2))
        assert first == again
        assert (first["status"], first["body"]["held"]) == (201, True)
        task = hub.client.get(f"/api/tasks/{first['body']['id']}")
        assert (task["title"], task["created_by"], task["why"]["code"]) == ("Buy a broom", "loash", "held")
        assert clone.git("log", "-1", "--format=%an", "agentcom/state", "--grep=created") == "loash"
