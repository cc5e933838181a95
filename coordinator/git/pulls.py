"""What a forge says of a pull request: open, merged or closed, by whom, and what reviewers write. It only reads.

GitHub's REST interface. An answer that one has is asked for again by its ETag, which costs nothing there; a forge that
wants to be asked less is not asked until then. What follows from the answers is decided elsewhere.
"""

import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn, TypeVar

from coordinator.git import forge
from coordinator.git.forge import NoAnswer

#: How long one question may take, in seconds.
ANSWER_S = 10.0
#: How long a forge that wants to be asked less is left alone, in seconds: at least, and at most.
REST_S = (60.0, 3600.0)
#: How long one that does not answer is left alone, in seconds: its silence costs one wait, not one for each question.
SILENT_S = 20.0
#: So many entries a page, and so many pages of one list.
PAGE, PAGES = 100, 10
#: So many answers are kept to be confirmed.
KEPT = 1_000
_T = TypeVar("_T")
#: Who may say what happens to work: people of the project, as GitHub calls them.
_MEMBERS = ("OWNER", "MEMBER", "COLLABORATOR")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody at the forge; ``number`` is 0 when it is not said."""

    login: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Pull:
    """One pull request. ``ended_ms`` is when it was merged or closed, 0 while it is open, ``ended`` the forge's text.

    ``project`` is the OWNER/NAME that has the branch, "" for one that was deleted; ``commit`` the newest of the branch;
    ``merge_commit`` the one of the base that has the work. ``default`` is the project's default branch.
    """

    url: str
    state: Literal["open", "merged", "closed"]
    project: str
    branch: str
    commit: str
    base: str
    default: str
    ended_ms: int = 0
    ended: str = ""
    merged_by: User | None = None
    merge_commit: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What one reviewer said; ``state`` is the forge's word. ``member``: the reviewer belongs to the project."""

    number: int
    author: User
    state: str
    text: str
    url: str
    at_ms: int
    member: bool


class Reader:
    """Reads one forge, for one thread. All of it raises NoAnswer, also for what the forge refuses."""

    def __init__(self, api: str, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._token, self._clock = api, token, clock
        self._kept: dict[str, tuple[str, Any]] = {}
        self._rest_until, self._why = 0.0, ""

    def pull(self, project: str, number: int) -> Pull:
        """Return one pull request."""
        return _read(_pull, self._get(f"{_path(project)}/pulls/{number}"))

    def closed_by(self, project: str, number: int) -> User | None:
        """Return who closed it, None when that is not said."""
        return _user(_dict(self._get(f"{_path(project)}/issues/{number}")).get("closed_by"))

    def commits(self, project: str, number: int) -> frozenset[str]:
        """Return the commits of a pull request (the forge knows the first 250)."""
        return frozenset(str(one.get("sha")) for one in self._list(f"{_path(project)}/pulls/{number}/commits"))

    def reviews(self, project: str, number: int) -> tuple[Review, ...]:
        """Return what reviewers said, the oldest first; reviews that are not handed in yet are left out."""
        found = self._list(f"{_path(project)}/pulls/{number}/reviews")
        return tuple(_read(_review, one) for one in found if one.get("submitted_at"))

    def remarks(self, project: str, number: int, review: int) -> tuple[str, ...]:
        """Return the comments that belong to one review, as ``path:line: text``."""
        found = self._list(f"{_path(project)}/pulls/{number}/comments")
        return tuple(_remark(one) for one in found if one.get("pull_request_review_id") == review)

    def said(self, project: str, number: int, since_ms: int) -> tuple[str, ...]:
        """Return what people of the project wrote in its conversation since then, as ``login: text``."""
        found = []
        for one in self._list(f"{_path(project)}/issues/{number}/comments"):
            author, text = _user(one.get("user")), str(one.get("body") or "").strip()
            if author and text and _member(one) and _ms(one.get("created_at")) >= since_ms:
                found.append(f"{author.login}: {text}")
        return tuple(found)

    def _list(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(1, PAGES + 1):
            raw = self._get(f"{path}?per_page={PAGE}&page={page}")
            if not isinstance(raw, list):
                raise NoAnswer("the forge answers something else than a list: is the address of its API right?")
            found += [one for one in raw if isinstance(one, dict)]
            if len(raw) < PAGE:
                break
        return found

    def _get(self, path: str) -> Any:
        if self._clock() < self._rest_until:
            raise NoAnswer(self._why)
        etag, known = self._kept.pop(path, ("", None))
        try:
            answer = forge.ask(self._api, self._token, "GET", path, agent="agentcom", timeout=ANSWER_S, etag=etag)
        except NoAnswer as error:
            self._rest(str(error), SILENT_S)
        if answer.status == 304 and etag:
            self._kept[path] = (etag, known)
            return known
        if answer.limited:
            self._rest(f"the forge at {self._api} wants to be asked less: {answer.said}", _wait(answer))
        if answer.status != 200:
            what = f"the forge at {self._api} answers {answer.status}: {answer.said}"
            mend = {401: "check the token", 403: "check the token's rights", 404: "check the token's rights"}
            raise NoAnswer("; ".join(part for part in (what, mend.get(answer.status, "")) if part))
        if answer.headers.get("etag"):
            self._kept[path] = (answer.headers["etag"], answer.body)
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return answer.body

    def _rest(self, why: str, seconds: float) -> NoReturn:
        self._why, self._rest_until = why, self._clock() + seconds
        raise NoAnswer(why) from None


def _wait(answer: forge.Answer) -> float:
    after, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    wait = float(after) if after.isdecimal() else float(reset) - time.time() if reset.isdecimal() else 0.0
    return min(max(wait, REST_S[0]), REST_S[1])


def _path(project: str) -> str:
    return f"/repos/{urllib.parse.quote(project)}"


def _read(how: Callable[[Any], _T], raw: Any) -> _T:
    try:
        return how(raw)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAnswer("the forge's answer cannot be read: is the address of its API right?") from None


def _pull(raw: Any) -> Pull:
    head, base = raw["head"], raw["base"]
    merged = bool(raw.get("merged_at"))
    ended = str(raw.get("merged_at") or raw.get("closed_at") or "")
    return Pull(
        url=str(raw["html_url"]),
        state="merged" if merged else "closed" if raw["state"] == "closed" else "open",
        project=str(_dict(head.get("repo")).get("full_name") or ""),
        branch=str(head["ref"]),
        commit=str(head["sha"]),
        base=str(base["ref"]),
        default=str(_dict(base.get("repo")).get("default_branch") or ""),
        ended_ms=_ms(ended) if ended else 0,
        ended=ended,
        merged_by=_user(raw.get("merged_by")),
        merge_commit=str(raw.get("merge_commit_sha") or "") if merged else "",
    )


def _review(raw: Any) -> Review:
    return Review(
        number=int(raw["id"]),
        author=_user(raw.get("user")) or User("somebody"),
        state=str(raw["state"]),
        text=str(raw.get("body") or "").strip(),
        url=str(raw["html_url"]),
        at_ms=_ms(raw["submitted_at"]),
        member=_member(raw),
    )


def _remark(raw: dict[str, Any]) -> str:
    line = raw.get("line") or raw.get("original_line")
    place = f"{raw.get('path') or '?'}:{line}" if line else str(raw.get("path") or "?")
    return f"{place}: {str(raw.get('body') or '').strip()}"


def _member(raw: dict[str, Any]) -> bool:
    return raw.get("author_association") in _MEMBERS


def _user(raw: object) -> User | None:
    said = _dict(raw)
    login, number = said.get("login"), said.get("id")
    if not isinstance(login, str) or not login:
        return None
    return User(login, number if isinstance(number, int) else 0)


def _dict(raw: object) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _ms(text: object) -> int:
    try:
        return int(datetime.fromisoformat(str(text)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0
