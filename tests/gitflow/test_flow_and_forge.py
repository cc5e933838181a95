"""Submitting with a forge behind the remote: the pull request is opened, kept up to date, and never loses a push."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.fakeforge import FakeForge, Question, fake_gh, forge_over
from support.repo import Clone, git_env, make_bare, make_repo

from sidecar.gitflow import submitting
from sidecar.gitflow.starting import start
from sidecar.gitflow.submitting import submit
from sidecar.gitflow.values import FlowError, Misconfigured, NotAllowed, Report, Submitted, Task, Unreachable

TASK = Task(
    "t-k3m9q2xa",
    "Write the number 7",
    description="Nobody has it yet.",
    priority="high",
    acceptance=("seven.txt holds 7", "nothing else changes"),
    attempt=2,
)
BRANCH = "loash/t-k3m9q2xa-write-the-number-7"


class Place:
    """An origin with a forge, the clone of an agent's machine, and somebody else who moves main."""

    def __init__(self, folder: Path, forge: FakeForge) -> None:
        self.forge = forge
        self.other = make_repo(folder / "other", {"a.txt": "one\n", "b.txt": "one\n"})
        self.other.git("remote", "add", "origin", str(forge.origin))
        self.other.git("push", "--quiet", "origin", "main")
        self.other.git("clone", "--quiet", str(forge.origin), str(folder / "clone"))
        self.clone = Clone(folder / "clone")
        self.clone.git("config", "agentcom-git.project", forge.project)

    def main_moves(self, name: str) -> str:
        commit = self.other.commit({name: "moved\n"}, "elsewhere")
        self.other.git("push", "--quiet", "origin", "main")
        return commit

    def work(self) -> Clone:
        work = Clone(start(TASK, self.clone.path, agent="loash").path)
        work.commit({"seven.txt": "7\n"}, "Write seven")
        return work

    def tip(self) -> str:
        return self.other.git("ls-remote", str(self.forge.origin), f"refs/heads/{BRANCH}").partition("\t")[0]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name, value in git_env().items():
        monkeypatch.setenv(name, value)
    with forge_over(make_bare(tmp_path / "app.git")) as forge:
        for name in ("GH_TOKEN", "AGENTCOM_GITHUB_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AGENTCOM_GITHUB_API", forge.url)
        monkeypatch.setenv("GITHUB_TOKEN", forge.token)
        yield Place(tmp_path, forge)


def test_hygiene_one_agent_one_task_from_current_main_pull_request_named_right_and_no_stale_diff(place: Place) -> None:
    place.main_moves("before.txt")
    work = place.work()
    newest = place.main_moves("meanwhile.txt")
    done = submit(work.path, rebase=True)
    pull = place.forge.pulls[1]
    assert (len(place.forge.pulls), done.created) == (1, True)
    assert (pull["title"], pull["head"]["ref"], pull["base"]["ref"]) == (
        "Write the number 7 (t-k3m9q2xa)",
        BRANCH,
        "main",
    )
    assert place.tip() == done.commit == done.pull_request.commit  # type: ignore[union-attr]
    assert done.pull_request is not None
    assert done.pull_request.url == "https://github.com/ada/app/pull/1"
    assert work.git("merge-base", newest, done.commit) == newest
    assert work.git("diff", "--name-only", newest, done.commit) == "seven.txt"
    assert work.git("status", "--porcelain", "--ignored") == ""


def test_a_pull_request_says_the_task_why_what_how_tested_and_carries_labels_reviewer_and_draft(place: Place) -> None:
    place.clone.git("config", "agentcom-git.reviewer", "grace")
    work = place.work()
    done = submit(work.path, task=TASK, report=Report("It is 7.", "`make test`", 1234), draft=True)
    body = place.forge.pulls[1]["body"]
    said = ("`t-k3m9q2xa`", "Nobody has it yet.", "It is 7.", "- [ ] seven.txt holds 7", "`make test`", "1,234 tokens")
    assert [part for part in (*said, "attempt 2", "+1 -0", "risk low") if part not in body] == []
    assert place.forge.labels[1] == ["agent:loash", "priority:high", "risk:low"]
    assert place.forge.asked[1] == ["grace"]
    assert place.forge.pulls[1]["draft"] is True
    assert done.remarks == ()


def test_submitting_again_keeps_what_people_wrote_and_ticked(place: Place) -> None:
    work = place.work()
    submit(work.path, task=TASK)
    pull = place.forge.pulls[1]
    ticked = pull["body"].replace("- [ ] seven.txt", "- [x] seven.txt")
    pull.update(title="Seven, at last", body=f"Please look at this first.\n\n{ticked}\nThanks!\n")
    place.forge.labels[1].append("urgent")
    work.commit({"eight.txt": "8\n"}, "Write eight")
    done = submit(work.path, task=TASK, report=Report("It is 7 and 8."))
    assert (len(place.forge.pulls), done.created, pull["title"]) == (1, False, "Seven, at last")
    assert pull["body"].startswith("Please look at this first.\n")
    assert pull["body"].rstrip().endswith("Thanks!")
    assert "- [x] seven.txt holds 7" in pull["body"]
    assert "- [ ] nothing else changes" in pull["body"]
    assert "It is 7 and 8." in pull["body"]
    assert "urgent" in place.forge.labels[1]


def test_a_pull_request_that_a_person_opened_for_the_branch_is_taken_over_with_their_words(place: Place) -> None:
    work = place.work()
    work.git("push", "--quiet", "origin", "HEAD")
    number = place.forge.opened(BRANCH)
    place.forge.pulls[number].update(title="Seven by hand", body="Opened by hand.\n")
    done = submit(work.path)
    assert (len(place.forge.pulls), done.created) == (1, False)
    assert place.forge.pulls[number]["title"] == "Seven by hand"
    assert place.forge.pulls[number]["body"].startswith("Opened by hand.\n")


def test_a_closed_pull_request_is_left_alone_and_another_one_opened(place: Place) -> None:
    work = place.work()
    submit(work.path)
    place.forge.close(1)
    work.commit({"eight.txt": "8\n"})
    done = submit(work.path)
    assert done.created
    assert done.pull_request is not None
    assert done.pull_request.number == 2


def test_a_crash_between_push_and_pull_request_is_made_whole_by_the_next_submission(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = place.work()
    with monkeypatch.context() as crash:
        crash.setattr(submitting, "_offer", _dies)
        with pytest.raises(KeyboardInterrupt):
            submit(work.path)
    pushed = place.tip()
    assert (pushed, place.forge.pulls) == (work.head(), {})
    done = submit(work.path)
    assert (done.pushed, done.created, place.tip()) == (False, True, pushed)


def test_a_crash_after_the_pull_request_was_opened_leads_to_the_same_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = place.work()
    with monkeypatch.context() as crash:
        crash.setattr("sidecar.gitflow.forge.github.GitHub.mark", _dies)
        with pytest.raises(KeyboardInterrupt):
            submit(work.path)
    place.forge.pulls[1]["title"] = "Seven, at last"
    done = submit(work.path)
    assert (len(place.forge.pulls), done.created, place.forge.pulls[1]["title"]) == (1, False, "Seven, at last")
    assert place.forge.labels[1] == ["agent:loash", "priority:high", "risk:low"]


def _dies(*_args: object) -> Submitted:
    raise KeyboardInterrupt


FAILURES: tuple[tuple[int, dict[str, str], dict[str, str], type[FlowError], str], ...] = (
    (401, {"message": "Bad credentials"}, {}, NotAllowed, "Bad credentials; check the token and its rights on ada/app"),
    (403, {"message": "Resource not accessible"}, {}, NotAllowed, "Resource not accessible; check the token"),
    (404, {"message": "Not Found"}, {}, NotAllowed, "shows no ada/app to this token; check the token"),
    (301, {"message": "Moved"}, {"Location": "https://example.org/"}, Misconfigured, "`git remote set-url`"),
    (403, {"message": "API rate limit exceeded"}, {}, Unreachable, "rate limit exceeded; try again later"),
    (403, {"message": "No"}, {"x-ratelimit-remaining": "0"}, Unreachable, "try again later"),
    (429, {"message": "Slow down"}, {"Retry-After": "60"}, Unreachable, "Slow down; try again later"),
    (502, {}, {}, Unreachable, "status 502; try again later"),
    (422, {"message": "Validation Failed"}, {}, FlowError, "Validation Failed"),
)


@pytest.mark.parametrize(("status", "body", "headers", "kind", "text"), FAILURES)
def test_what_the_forge_refuses_leaves_the_push_standing_and_says_what_to_do(
    place: Place, status: int, body: Any, headers: dict[str, str], kind: type[FlowError], text: str
) -> None:
    work = place.work()
    place.forge.fails = lambda _question: (status, body, headers)
    with pytest.raises(FlowError) as failed:
        submit(work.path)
    assert type(failed.value) is kind
    assert str(failed.value).startswith(f"{BRANCH} is pushed, but its pull request is not up to date: ")
    assert text in str(failed.value)
    assert str(failed.value).endswith("; then `agentcom-git submit` again")
    assert place.forge.token not in str(failed.value)
    assert place.tip() == work.head()
    place.forge.fails = lambda _question: None
    assert submit(work.path).created


def test_a_forge_that_is_away_leaves_the_push_standing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    work = place.work()
    monkeypatch.setenv("AGENTCOM_GITHUB_API", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"is pushed, but .*http://127\.0\.0\.1:9 does not answer: .*try again later"):
        submit(work.path)
    assert place.tip() == work.head()


def test_labels_and_reviewers_that_are_refused_are_remarks_and_the_pull_request_stands(place: Place) -> None:
    place.clone.git("config", "agentcom-git.reviewer", "nobody")
    place.forge.fails = _no_labels
    done = submit(place.work().path)
    assert done.created
    assert done.remarks == (
        "the labels were not set: Must have triage rights",
        "the reviewers were not set: Reviews may only be requested from collaborators.",
    )


def _no_labels(question: Question) -> tuple[int, Any, dict[str, str]] | None:
    return (403, {"message": "Must have triage rights"}, {}) if question.path.endswith("/labels") else None


def test_a_repository_without_drafts_gets_a_pull_request_all_the_same(place: Place) -> None:
    def no_drafts(question: Question) -> tuple[int, Any, dict[str, str]] | None:
        if question.method == "POST" and question.path.endswith("/pulls") and question.body.get("draft"):
            return 422, {"message": "Draft pull requests are not supported in this repository."}, {}
        return None

    place.forge.fails = no_drafts
    done = submit(place.work().path, draft=True)
    assert done.created
    assert place.forge.pulls[1]["draft"] is False


def test_a_redirect_is_not_followed_and_a_proxy_gets_no_token_over_a_plain_connection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forge_over(place.forge.origin) as thief:
        monkeypatch.setenv("http_proxy", thief.url)
        monkeypatch.delenv("no_proxy", raising=False)
        place.forge.fails = lambda question: (307, {}, {"Location": thief.url + question.path})
        with pytest.raises(Misconfigured):
            submit(place.work().path)
        assert thief.questions == []
        assert [question.status for question in place.forge.questions] == [307]


@pytest.mark.parametrize("api", ["http://example.org/api", "https://ada@example.org", "file:///etc/passwd", "https://"])
def test_an_address_to_which_no_token_is_sent_is_said(place: Place, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCOM_GITHUB_API", api)
    with pytest.raises(Misconfigured, match=r"is pushed, but .*agentcom-git\.api.*write https://"):
        submit(place.work().path)


def by_gh(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave gh as the only way to the forge."""
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.delenv("AGENTCOM_GITHUB_API")
    place.clone.git("config", "agentcom-git.forge", "github")


def test_without_a_token_gh_opens_the_pull_request(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_gh(place, monkeypatch)
    folder = fake_gh(tmp_path / "bin", place.forge)
    monkeypatch.setenv("PATH", f"{folder}:{git_env()['PATH']}")
    work = place.work()
    first = submit(work.path, task=TASK)
    work.commit({"eight.txt": "8\n"})
    again = submit(work.path, task=TASK)
    assert (first.created, again.created, len(place.forge.pulls)) == (True, False, 1)
    assert place.forge.labels[1] == ["agent:loash", "priority:high", "risk:low"]
    place.forge.fails = lambda _question: (404, {"message": "Not Found"}, {})
    work.commit({"nine.txt": "9\n"})
    with pytest.raises(NotAllowed, match=r"is pushed, but .* shows no ada/app"):
        submit(work.path)
    assert place.tip() == work.head()


def test_gh_is_asked_about_the_host_of_the_api_that_is_set(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.setenv("AGENTCOM_GITHUB_API", "https://forge.example.org/api/v3")
    folder = fake_gh(tmp_path / "bin", place.forge, host="forge.example.org")
    monkeypatch.setenv("PATH", f"{folder}:{git_env()['PATH']}")
    assert submit(place.work().path).created


@pytest.mark.skipif(shutil.which("gh") is None, reason="gh is not installed (Debian: apt-get install gh)")
def test_the_real_gh_opens_the_pull_request_through_its_unix_socket(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_gh(place, monkeypatch)
    config = tmp_path / "gh"
    config.mkdir()
    (config / "config.yml").write_text(f"http_unix_socket: {tmp_path}/forge.sock\n")
    (config / "hosts.yml").write_text(f"github.com:\n    oauth_token: {place.forge.token}\n    user: ada\n")
    monkeypatch.setenv("GH_CONFIG_DIR", str(config))
    with forge_over(place.forge.origin, socket=tmp_path / "forge.sock") as there:
        work = place.work()
        first = submit(work.path, task=TASK)
        work.commit({f"f{number}.txt": "8\n" for number in range(12)})
        again = submit(work.path, task=TASK)
        assert (first.created, again.created, len(there.pulls)) == (True, False, 1)
        assert there.labels[1] == ["agent:loash", "priority:high", "risk:medium"]
        there.fails = lambda _question: (404, {"message": "Not Found"}, {})
        work.commit({"nine.txt": "9\n"})
        with pytest.raises(NotAllowed, match=r"is pushed, but .* shows no ada/app"):
            submit(work.path)
    with pytest.raises(Unreachable, match=r"is pushed, but .*gh says: .*try again"):
        submit(work.path)
    assert place.tip() == work.head()


def test_gh_without_network_leaves_the_push_standing(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_gh(place, monkeypatch)
    folder = fake_gh(tmp_path / "bin", replace(place.forge, url="http://127.0.0.1:9"))
    monkeypatch.setenv("PATH", f"{folder}:{git_env()['PATH']}")
    work = place.work()
    with pytest.raises(Unreachable, match=r"is pushed, but .*gh says: error connecting to api\.github\.com.*try again"):
        submit(work.path)
    assert place.tip() == work.head()


def test_without_a_token_and_without_a_login_the_branch_is_pushed_and_the_text_says_what_to_set(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_gh(place, monkeypatch)
    folder = fake_gh(tmp_path / "bin", place.forge, logged_in=False)
    monkeypatch.setenv("PATH", f"{folder}:{git_env()['PATH']}")
    work = place.work()
    done = submit(work.path)
    assert (done.pull_request, place.tip()) == (None, work.head())
    assert done.remarks == (
        "no pull request was opened: set GITHUB_TOKEN, or log in with `gh auth login`, then submit again",
    )
    assert BRANCH in done.request


def test_a_label_of_another_risk_goes_and_those_of_people_stay(place: Place) -> None:
    work = place.work()
    submit(work.path, task=TASK)
    place.forge.labels[1] += ["risk:accepted", "bug", "priority:p0"]
    work.commit({f"f{number}.txt": "8\n" for number in range(12)})
    done = submit(work.path, task=replace(TASK, priority="low"))
    assert (done.risk, done.remarks) == ("medium", ())
    assert sorted(place.forge.labels[1]) == [
        *("agent:loash", "bug", "priority:low", "priority:p0", "risk:accepted", "risk:medium"),
    ]


def test_teams_are_asked_for_a_review_as_teams(place: Place) -> None:
    for reviewer in ("grace", "ada/core"):
        place.clone.git("config", "--add", "agentcom-git.reviewer", reviewer)
    assert submit(place.work().path).remarks == ()
    (question,) = [one for one in place.forge.questions if one.path.endswith("requested_reviewers")]
    assert question.body == {"reviewers": ["grace"], "team_reviewers": ["core"]}


def test_checks_are_told_as_one_word(place: Place) -> None:
    from sidecar.gitflow.forge.github import GitHub, by_http

    forge = GitHub("ada/app", by_http(place.forge.url, place.forge.token))
    words = []
    for conclusions in ((), ("success", "skipped"), ("success", None), ("success", "failure", None)):
        place.forge.runs = [{"conclusion": conclusion} for conclusion in conclusions]
        words.append(forge.checks("c" * 40))
    assert words == ["", "success", "pending", "failure"]
    place.forge.runs = [{"conclusion": "success"}]
    words = []
    for state in ("success", "pending", "error"):
        place.forge.statuses = [{"state": "success"}, {"state": state}]
        words.append(forge.checks("c" * 40))
    assert words == ["success", "pending", "failure"]
