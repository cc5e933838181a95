"""A token that is taken out of an agent's file ends the session that it has opened."""

import json
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from coordinator.web.auth import digest

pytestmark = pytest.mark.slow


def test_a_commit_that_takes_a_token_away_closes_the_open_session_within_five_seconds(make_stage) -> None:
    stage = make_stage(0)
    stage.add_agent("loash")
    token = stage.sidecars["loash"].token
    stage.agentcom("reconcile")
    with connect(f"ws://127.0.0.1:{stage.port}/ws") as link:
        link.send(json.dumps({"type": "identify", "agent_id": "loash", "token": token}))
        assert json.loads(link.recv(30))["type"] == "identified"

        file = stage.repo / "agents" / "loash.yaml"
        file.write_text(file.read_text().replace(digest(token), digest("another")))
        stage.commit("Take the token of loash away", "agents")
        stage.agentcom("reconcile")
        observed = time.monotonic()
        with pytest.raises(ConnectionClosed):
            while True:
                said = json.loads(link.recv(30))
        assert time.monotonic() - observed < 5
        assert (said["error"], link.protocol.close_code) == ("invalid_token", 4401)
