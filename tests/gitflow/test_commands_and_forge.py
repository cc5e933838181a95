"""What status, prune and doctor say when the remote has a forge: as processes, as an agent types them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.fakeforge import FakeForge, forge_over
from support.gitplace import TASK_JSON, Ended, Place, command
from support.repo import Clone

pytestmark = pytest.mark.slow

URL = "https://github.com/ada/app/pull/1"


@pytest.fixture
def forge(place: Place) -> Iterator[FakeForge]:
    place.clone.git("config", "agentcom-git.project", "ada/app")
    with forge_over(place.origin) as forge:
        yield forge


def typed(forge: FakeForge, at: Path, *words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ended:
    said = {"AGENTCOM_GITHUB_API": forge.url, "GITHUB_TOKEN": forge.token, **(env or {})}
    return command(at, *words, stdin=stdin, env=said)


def submitted(place: Place, forge: FakeForge) -> Clone:
    begun = typed(forge, place.clone.path, "start-task", "--task", "-", "--json", stdin=TASK_JSON)
    work = Clone(Path(begun.json["path"]))
    work.commit({"seven.txt": "7\n"})
    done = typed(forge, work.path, "submit", "--json")
    assert done.json["pull_request"]["url"] == URL, done
    return work


def test_status_shows_the_pull_request_and_how_its_checks_stand(place: Place, forge: FakeForge) -> None:
    work = submitted(place, forge)
    forge.runs = [{"conclusion": "success"}]
    forge.statuses = [{"state": "failure", "context": "old-ci"}]
    said = typed(forge, work.path, "status", "--json").json
    assert (said["pull_request"]["url"], said["pull_request"]["state"], said["checks"]) == (URL, "open", "failure")
    assert URL in typed(forge, work.path, "status").out


def test_status_without_an_answer_of_the_forge_is_a_remark(place: Place, forge: FakeForge) -> None:
    work = submitted(place, forge)
    said = typed(forge, work.path, "status", "--json", env={"AGENTCOM_GITHUB_API": "http://127.0.0.1:9"})
    assert said.code == 0
    (remark,) = said.json["remarks"]
    assert "does not answer: [Errno 111] Connection refused" in remark


def test_status_says_that_a_pull_request_was_closed_without_a_merge(place: Place, forge: FakeForge) -> None:
    work = submitted(place, forge)
    forge.close(1)
    (remark,) = typed(forge, work.path, "status", "--json").json["remarks"]
    assert remark.startswith(f"{URL} is not open any more and has not merged this: read why")


def test_prune_takes_away_what_the_forge_has_merged_in_a_way_that_git_cannot_see(
    place: Place, forge: FakeForge
) -> None:
    work = submitted(place, forge)
    kept = typed(forge, place.clone.path, "prune", "--json").json
    assert (kept["removed"], len(kept["kept"])) == ([], 1)
    merged = place.main_moves(seven_txt="7, as grace wants it\n")
    forge.merge(1, merged)
    gone = typed(forge, place.clone.path, "prune", "--json").json
    assert (len(gone["removed"]), gone["kept"]) == (1, [])
    assert not work.path.exists()


def test_prune_keeps_what_was_closed_without_a_merge_and_what_came_after_a_merge(
    place: Place, forge: FakeForge
) -> None:
    work = submitted(place, forge)
    forge.close(1)
    assert typed(forge, place.clone.path, "prune", "--json").json["removed"] == []
    forge.merge(1, place.main_moves(seven_txt="another 7\n"))
    work.commit({"eight.txt": "8\n"})
    kept = typed(forge, place.clone.path, "prune", "--json").json
    assert (kept["removed"], len(kept["kept"])) == ([], 1)
    assert (work.path / "eight.txt").exists()


@pytest.mark.parametrize(
    ("env", "said", "todo"),
    [
        ({}, "answers, by a token: submit opens pull requests", ""),
        ({"GITHUB_TOKEN": "wrong"}, "Bad credentials", "check the token and its rights on ada/app"),
        ({"AGENTCOM_GITHUB_PROJECT": "ada/other"}, "shows no ada/other", "check the token, or the project's name"),
        ({"AGENTCOM_GITHUB_API": "http://127.0.0.1:9"}, "does not answer", "try again later"),
        ({"AGENTCOM_GITHUB_API": "http://example.org"}, "agentcom-git.api", "write https://"),
        ({"GITHUB_TOKEN": "", "PATH": "/usr/bin:/bin", "GH_CONFIG_DIR": "/nowhere"}, "no token", "set GITHUB_TOKEN"),
    ],
)
def test_doctor_says_whether_the_forge_would_take_a_pull_request(
    place: Place, forge: FakeForge, env: Mapping[str, str], said: str, todo: str
) -> None:
    ended = typed(forge, place.clone.path, "doctor", "--json", env=env)
    (check,) = [one for one in ended.json["checks"] if one["name"] == "forge"]
    text = f"{check['text']} {check['todo']}"
    assert (check["level"], said in text, todo in text) == ("wrong" if todo else "ok", True, True), check
    assert forge.token not in ended.out


def test_the_token_stands_in_no_output_record_hook_object_or_pull_request(place: Place, forge: FakeForge) -> None:
    said = [typed(forge, place.clone.path, "start-task", "--task", "-", "--json", stdin=TASK_JSON)]
    work = Clone(Path(said[0].json["path"]))
    work.commit({"seven.txt": "7\n"})
    answers: list[tuple[int, Any, dict[str, str]] | None] = [
        (500, {"message": "no"}, {}),
        (307, {}, {"Location": f"{forge.url}/elsewhere"}),
        (403, {"message": "rate limit", "token": "x"}, {"Retry-After": "9"}),
        (200, ["no pull request"], {}),
        None,
    ]
    for answer in answers:
        forge.fails = lambda _question, answer=answer: answer
        for words in (("submit",), ("status",), ("status", "--json"), ("doctor",), ("prune", "--json"), ("sync",)):
            said.append(typed(forge, work.path, *words))
    assert len(forge.pulls) == 1
    assert {one.token for one in forge.questions} == {forge.token}
    said.append(typed(forge, work.path, "status", env={"AGENTCOM_GITHUB_API": f"https://{forge.token}@example.org"}))
    found = [(str(number), f"{one.out}{one.err}".encode()) for number, one in enumerate(said)]
    found += [(str(path), path.read_bytes()) for path in place.origin.parent.rglob("*") if path.is_file()]
    for name in work.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split():
        found.append((name, work.git("cat-file", "-p", name).encode()))
    found.append(("pull requests", json.dumps([forge.pulls, forge.labels]).encode()))
    assert len(found) > 60
    assert [name for name, content in found if forge.token.encode() in content] == []


def test_a_remote_over_plain_http_is_refused_with_what_to_set(place: Place, forge: FakeForge) -> None:
    place.clone.git("remote", "set-url", "origin", f"{forge.url}/ada/app.git")
    ended = typed(forge, place.clone.path, "start-task", "--task", "-", stdin=TASK_JSON)
    assert (ended.code, ended.err.count("\n")) == (78, 1)
    assert "http:// is not spoken here: `git remote set-url` with an https or ssh address" in ended.err
