"""The forge's word on work in review: merged in a way that git cannot show, closed, or a review that asks for changes.

Decides whom to ask about which pull request, how often, and what the answer means for a task. An agent's word only
says which pull request it is: that it is of the task's repository, branch and base, and has the work, the forge says.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coordinator.core.events import Actor
from coordinator.files import secrets
from coordinator.files.problem import Problem, shown
from coordinator.git.forge import GITHUB_API, NoAnswer, objection, place_of
from coordinator.git.pulls import Pull, Reader, Review, User
from coordinator.sourced import Sourced, first, variable

#: Variables that may hold the hub's token, the first that does wins; and the address of the API.
TOKENS = ("AGENTCOM_FORGE_TOKEN", "GITHUB_TOKEN")
API = "AGENTCOM_GITHUB_API"
#: So often one pull request is asked about, in seconds.
ASK_EVERY_S = 30.0
#: Clocks differ: what happened so long before an attempt began, in ms, belongs to it.
SKEW_MS = 60_000
#: Longest note for the next attempt, in characters.
NOTE_CHARS = 8_000

_PULL = re.compile(r"https://([^/\s]+)/([\w.-]+/[\w.-]+)/pull/([0-9]{1,9})/?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_LOGIN = re.compile(r"[A-Za-z0-9][\w-]{0,99}(?:\[bot\])?", re.ASCII)
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
#: What leaves a reviewer's earlier verdict as it was.
_NO_VERDICT = ("COMMENTED", "PENDING")


@dataclass(frozen=True, slots=True)
class Offer:
    """A task's work that is offered in a pull request; commit, branch and base as the task's result has them.

    ``url`` is the address of the repository, ``base`` None for its default branch. ``noted`` are the notes of earlier
    verdicts on this task: what one of them says is not said again.
    """

    task: str
    url: str
    pr_url: str
    branch: str
    commit: str
    base: str | None = None
    since_ms: int = 0
    noted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a task: approved by the commit ``merged``, or changes are asked for (``merged`` is None)."""

    by: Actor
    text: str
    merged: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one round, by task; and what keeps the rest from being heard."""

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


class Listener:
    """Asks one forge about work in review; for one thread, but ``give_up`` may be called from any."""

    def __init__(self, api: str, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._clock = api, clock
        self._reader = Reader(api, token, clock)
        self._asked: dict[tuple[str, int], float] = {}
        self._problems: dict[str, Problem] = {}
        self._over = False

    def give_up(self) -> None:
        """End this round after the question under way, and every later one."""
        self._over = True

    def hear(self, offers: Sequence[Offer]) -> Heard:
        """Return what the forge says of these. Never raises for what a network or a forge does."""
        against = objection(self._api)
        if against is not None:
            return Heard({}, (Problem(API, what=f"{shown(self._api)}: {against}", hint="no forge is asked"),))
        self._forget(offer.task for offer in offers)
        verdicts: dict[str, Verdict] = {}
        away: tuple[Problem, ...] = ()
        for offer in offers:
            if self._over:
                break
            place = self._place(offer)
            if place is None or self._clock() - self._asked.get(place, -ASK_EVERY_S) < ASK_EVERY_S:
                continue
            self._asked[place] = self._clock()
            self._problems.pop(offer.task, None)
            try:
                found = self._judge(offer, *place)
            except NoAnswer as error:
                away = (Problem("forge", what=f"what becomes of {offer.pr_url} cannot be seen: {error}"),)
                continue
            if isinstance(found, Verdict):
                verdicts[offer.task] = found
            elif found is not None:
                self._problems[offer.task] = found
        return Heard(verdicts, (*self._problems.values(), *away))

    def _forget(self, tasks: Iterable[str]) -> None:
        there = frozenset(tasks)
        self._problems = {task: problem for task, problem in self._problems.items() if task in there}
        now = self._clock()
        self._asked = {place: at for place, at in self._asked.items() if now - at < ASK_EVERY_S}

    def _place(self, offer: Offer) -> tuple[str, int] | None:
        """Return project and number to ask about, None when this forge is not the one of the repository."""
        host, project = place_of(offer.url)
        if not host or (self._api == GITHUB_API and host.lower() != "github.com"):
            return None
        match = _PULL.fullmatch(offer.pr_url)
        if match is None or (match[1].lower(), match[2].lower()) != (host.lower(), project.lower()):
            what = f"{shown(offer.pr_url)} is no pull request of {project}, nobody is asked about it"
            self._problems[offer.task] = Problem(offer.task, what=what)
            return None
        return project, int(match[3])

    def _judge(self, offer: Offer, project: str, number: int) -> Verdict | Problem | None:
        pull = self._reader.pull(project, number)
        if (against := _stranger(offer, project, pull)) is not None:
            return Problem(offer.task, what=f"{offer.pr_url} {against}")
        since = offer.since_ms - SKEW_MS
        if pull.state == "merged":
            if pull.ended_ms < since:
                return Problem(offer.task, what=f"{pull.url} was merged before this attempt began")
            if offer.commit != pull.commit and offer.commit not in self._reader.commits(project, number):
                return Problem(offer.task, what=f"{pull.url} was merged without {offer.commit[:10]}")
            if not _COMMIT.fullmatch(pull.merge_commit):
                return Problem(offer.task, what=f"{pull.url} was merged, but its commit is not said")
            text = f"merged as {pull.merge_commit[:10]}, says {pull.url}"
            return Verdict(_actor(pull.merged_by, pull), text, pull.merge_commit)
        asking = _asking(self._reader.reviews(project, number), since, offer.noted)
        notes = [self._note(review, project, number) for review in asking]
        by = asking[-1].author if asking else None
        closed = f"{pull.url} was closed without a merge, {pull.ended}"
        if pull.state == "closed" and not _noted(closed, offer.noted):
            if pull.ended_ms < since:
                return Problem(
                    offer.task, what=f"{pull.url} was closed before this attempt began: it needs another one"
                )
            by = self._reader.closed_by(project, number) or by
            notes = [closed, *notes]
        if not notes:
            return None
        notes += self._reader.said(project, number, since)
        return Verdict(_actor(by, pull), _cut("\n\n".join(notes)))

    def _note(self, review: Review, project: str, number: int) -> str:
        remarks = "\n".join(f"- {remark}" for remark in self._reader.remarks(project, number, review.number))
        return "\n".join(part for part in (_head(review), review.text, remarks) if part)


def forge_named(environ: Mapping[str, str] = os.environ) -> tuple[Sourced[str], Sourced[str | None]]:
    """Return the address of the forge's API and the token for it, None without one."""
    api = first(GITHUB_API, (environ.get(API, "").strip() or None, variable(API)))
    token = first(None, *((environ.get(name, "").strip() or None, variable(name)) for name in TOKENS))
    return api, token


def from_environment(environ: Mapping[str, str] = os.environ) -> Listener | None:
    """Return what asks the forge that the environment names, None without a token."""
    api, token = forge_named(environ)
    return Listener(api.value, token.value) if token.value else None


def _stranger(offer: Offer, project: str, pull: Pull) -> str | None:
    """Return why this is not the pull request of the work, None when it is."""
    if pull.url.rstrip("/").lower() != offer.pr_url.rstrip("/").lower():
        return f"is {pull.url} to the forge"
    if pull.branch != offer.branch or pull.project.lower() not in ("", project.lower()):
        return f"is not of the branch {offer.branch}"
    base = offer.base or pull.default
    return None if pull.base == base else f"goes into {pull.base} and not into {base}"


def _asking(reviews: Sequence[Review], since_ms: int, noted: Sequence[str]) -> list[Review]:
    """Return the reviews that ask for changes and were not taken back by the same reviewer, the oldest first."""
    last: dict[str, Review] = {}
    for review in reviews:
        if review.member and review.state not in _NO_VERDICT:
            last[review.author.login] = review
    asking = (review for review in last.values() if review.state == "CHANGES_REQUESTED" and review.at_ms >= since_ms)
    return sorted((one for one in asking if not _noted(_head(one), noted)), key=lambda review: review.at_ms)


def _head(review: Review) -> str:
    return f"{review.author.login} asks for changes, {review.url}:"


def _noted(line: str, noted: Sequence[str]) -> bool:
    return any(line in note for note in noted)


def _actor(user: User | None, pull: Pull) -> Actor:
    login = user.login if user is not None and _LOGIN.fullmatch(user.login) else "somebody"
    number = f"{user.number}+" if user is not None and user.number else ""
    return Actor("person", login, f"{number}{login}@users.noreply.{pull.url.split('/')[2]}")


def _cut(text: str) -> str:
    text = _STEERS.sub(" ", secrets.hide(text.replace("\r\n", "\n")))
    return text if len(text) <= NOTE_CHARS else text[:NOTE_CHARS].rstrip() + "\n\n(cut)"
