"""The models of people's files as JSON Schema, so that an editor completes keys, explains them and marks mistakes.

What cannot be said in JSON Schema (the largest duration, the 30th of February, secrets) is left to our own reader,
which has the last word; a few spellings that it takes beside the usual one (``"2"`` for a number) are not offered.

    python -m coordinator.files.editors docs/schemas
"""

import json
import sys
from pathlib import Path
from typing import Any

from coordinator.files.schema import AgentFile, Model, PolicyFile, TaskFile

#: kind of file -> (model, how its schema introduces itself).
KINDS: dict[str, tuple[type[Model], str]] = {
    "task": (TaskFile, "A task of AgentCom: tasks/ID.yaml"),
    "agent": (AgentFile, "An agent of AgentCom: agents/ID.yaml"),
    "policy": (PolicyFile, "The settings of a repository for AgentCom: agentcom.yaml"),
}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FREE_KEYS = {"^x-": {"description": "Kept and ignored."}}


def file_name(kind: str) -> str:
    """Return how the schema of one kind is called, here and beside people's files."""
    return f"{kind}.schema.json"


def document(kind: str) -> str:
    """Return the schema of one kind of file as the text of a JSON file."""
    model, title = KINDS[kind]
    made = model.model_json_schema()
    parts = made.pop("$defs", {})
    schema = {"$schema": _DIALECT, "title": title, **_tidy(made), "patternProperties": _FREE_KEYS}
    schema.pop("description", None)
    if parts:
        schema["$defs"] = {name: _tidy(part) for name, part in sorted(parts.items())}
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop what pydantic says of Python, and let optional keys stand without a value."""
    first = {"description": schema["description"]} if "description" in schema else {}
    kept = first | {name: value for name, value in schema.items() if name not in ("title", "default")}
    if isinstance(kept.get("items"), dict):
        kept["items"] = _tidy(kept["items"])
    if isinstance(kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = _tidy(kept["additionalProperties"])
    if "properties" in kept:
        needed = kept.get("required", ())
        kept["properties"] = {
            key: _tidy(value) if key in needed else _optional(_tidy(value)) for key, value in kept["properties"].items()
        }
    return kept


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Let null pass: a key without a value counts as absent."""
    if "anyOf" in schema:
        ways = [way for way in schema.pop("anyOf") if way != {"type": "null"}]
        schema = {**schema, **ways[0]} if len(ways) == 1 else {**schema, "anyOf": ways}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return {**schema, "type": [*types, "null"]}
    says = {"description": schema.pop("description")} if "description" in schema else {}
    return {**says, "anyOf": [schema, {"type": "null"}]}


def main(folder: Path) -> None:
    """Write every schema into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        (folder / file_name(kind)).write_text(document(kind), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
