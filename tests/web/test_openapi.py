"""The description of the API, and a real hub held to it: whatever schemathesis asks, the answer is as described."""

from collections.abc import Iterator

import jsonschema
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.hubprocess import HubProcess
from support.repo import make_repo

from coordinator.reading import HubClient
from coordinator.wire import answers

#: What every answer must be, whatever was asked.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: How many requests are made up for each route.
REQUESTS = 25
#: What there is on the hub that is asked: the other half of the requests is about it.
KNOWN = {"agent_id": "loash", "channel": "ops", "task_id": "t-1"}
FILES = {
    "BACKLOG.md": "# Backlog\n\n## Ready\n\n- [ ] one\n",
    "agents/loash.yaml": "name: Loash\n",
    "tasks/t-1.yaml": "title: two\n",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    repo = make_repo(tmp_path_factory.mktemp("openapi") / "repo", FILES)
    with HubProcess(repo.path) as running:
        assert running.ready, running.said
        yield running


@pytest.fixture(scope="module")
def document(hub: HubProcess) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{hub.url}/openapi.json")


@pytest.mark.slow
def test_whatever_is_asked_the_answer_is_as_described(document: BaseSchema, hub: HubProcess) -> None:
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 20
    headers = {"Authorization": f"Bearer {hub.token}"}
    made = requests.post(f"{hub.url}/api/channels", json={"name": KNOWN["channel"]}, headers=headers, timeout=10)
    assert made.status_code == 201
    for operation in operations:
        _ask_much(operation, headers, {})
        known = {name: value for name, value in KNOWN.items() if f"{{{name}}}" in operation.path}
        if known:
            _ask_much(operation, headers, known)


def _ask_much(operation: schemathesis.APIOperation, headers: dict[str, str], known: dict[str, str]) -> None:
    guarded = False

    @settings(max_examples=REQUESTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        nonlocal guarded
        case.path_parameters.update(known)
        answer = case.call_and_validate(headers=headers, checks=CHECKS)
        if not guarded and answer.status_code < 300:  # once: so many wrong tokens are answered 429
            case.validate_response(answer, headers=headers, checks=[ignored_auth])
            guarded = True

    ask()


@pytest.mark.slow
def test_schemas_are_open_to_everybody_and_hold_what_the_hub_says(hub: HubProcess) -> None:
    said = HubClient(hub.url, None).get("/api/schemas")
    assert said["protocol_version"] == 1
    assert {"task_complete", "identify"} <= said["frames"]["to_hub"]["discriminator"]["mapping"].keys()
    assert "MessageBody" in said["bodies"]
    jsonschema.validate(hub.client.get("/api/tasks"), said["answers"]["TaskList"])
    jsonschema.validate(said, answers.Schemas.model_json_schema())
