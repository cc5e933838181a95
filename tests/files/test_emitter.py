"""What the hub writes, the hub reads back equal, and every YAML reader accepts it."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from support import strategies

from coordinator.core.agent import AgentRecord
from coordinator.core.machine import State
from coordinator.core.task import Attempt, End, Spec, Status
from coordinator.files import emitter, loader


@settings(max_examples=60, deadline=None)
@given(strategies.statuses)
def test_a_status_comes_back_as_it_was_written(status):
    data = emitter.emit_status(status)
    assert loader.load_status("status/open/t-1.yaml", data) == status
    assert yaml.safe_load(data)["status"] == status.status.value


@settings(max_examples=60, deadline=None)
@given(strategies.specs)
def test_a_hub_made_specification_comes_back_as_it_was_written(spec):
    data = emitter.emit_spec(spec)
    path = f"tasks/api/{spec.id}.yaml"
    assert loader.load_hub_task(path, data, "b10b") == replace(spec, blob="b10b", where=path)
    assert isinstance(yaml.safe_load(data), dict)


@settings(max_examples=50, deadline=None)
@given(strategies.records)
def test_an_agents_record_comes_back_as_it_was_written(record):
    data = emitter.emit_record(record)
    assert loader.load_record(f"status/agents/{record.id}.yaml", data) == record
    yaml.safe_load(data)


@settings(max_examples=80, deadline=None)
@given(strategies.mappings)
def test_a_mapping_without_a_schema_comes_back_as_it_was_written(values):
    data = emitter.emit_mapping(values)
    assert loader.load_mapping("status/hub.yaml", data) == values
    yaml.safe_load(data)


def test_a_status_reads_like_the_example_in_the_design():
    status = Status(
        status=State.WORKING,
        assigned_to="loash",
        generation=2,
        created_at=1795346400000,
        created_by="Ada",
        assigned_at=1795346400123,
        excluded=("gcu",),
        reason="agent gcu gone for 2 min",
        spec="3f9c" * 10,
        attempts=(Attempt(1, "gcu", End.LEASE_ENDED, "gone", "line one\nline two\n"),),
        result={"summary": "wrote 7", "files": ["a.txt"], "tokens_used": 12},
    )
    assert (
        emitter.emit_status(status).decode()
        == """\
status: working
assigned_to: loash
generation: 2
created_at: 2026-11-22T11:20:00.000Z
created_by: Ada
assigned_at: 2026-11-22T11:20:00.123Z
retry_count: 0
max_retries: 2
excluded: [gcu]
reason: agent gcu gone for 2 min
rerun: 0
spec: 3f9c3f9c3f9c3f9c3f9c3f9c3f9c3f9c3f9c3f9c
attempts:
  - generation: 1
    agent: gcu
    end: lease_ended
    reason: gone
    output_tail: |
      line one
      line two
result:
  summary: wrote 7
  files:
    - a.txt
  tokens_used: 12
"""
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("one\ntwo\n", "description: |\n  one\n  two\n"),
        ("one\n\n  two", "description: |-\n  one\n\n    two\n"),
        ("one\n\ttwo", 'description: "one\\n\\ttwo"\n'),
        (" one\ntwo", 'description: " one\\ntwo"\n'),
        ("one\r\ntwo", 'description: "one\\r\\ntwo"\n'),
    ],
)
def test_a_description_is_a_literal_block_where_that_is_exact(text, written):
    spec = Spec("t-1", "Title", text)
    assert written in emitter.emit_spec(spec).decode()


def test_texts_that_change_meaning_without_quotes_get_them():
    for text in ("no", "012", "12:30", "2026-11-22", "1e3", "~", "yes", ".5"):
        assert emitter.scalar(text) == f'"{text}"'


def test_blob_ids_are_those_of_git(tmp_path: Path):
    for algorithm in ("sha1", "sha256"):
        repo = tmp_path / algorithm
        subprocess.run(["git", "init", "-q", f"--object-format={algorithm}", repo], check=True)
        asked = subprocess.run(
            ["git", "-C", repo, "hash-object", "--stdin"], input=b"hello\n", capture_output=True, check=True
        )
        assert emitter.blob_id(b"hello\n", algorithm) == asked.stdout.decode().strip()


def test_numbers_that_json_does_not_have_are_written_as_null():
    data = emitter.emit_mapping({"a": float("nan"), "b": float("inf"), "c": "\ud800"})
    assert loader.load_mapping("status/hub.yaml", data) == {"a": None, "b": None, "c": "\ufffd"}


def test_an_empty_record_is_an_empty_file():
    assert emitter.emit_record(AgentRecord("loash")) == b""
    assert loader.load_record("status/agents/loash.yaml", b"") == AgentRecord("loash")
