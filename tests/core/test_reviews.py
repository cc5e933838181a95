"""Whose result a person must approve, which repository a task is for, and what a merge of the work means."""

from dataclasses import replace

import pytest
from support.world import PERSON, World

from coordinator.core.events import Accepted, Asked, Assign, Complete
from coordinator.core.machine import Event, State
from coordinator.core.policy import Policy, RepoTarget, Reviews
from coordinator.core.task import Spec

APP = RepoTarget("https://example.org/app.git", "main")


def complete(policy: Policy, **spec: object) -> World:
    world = World(policy=policy)
    world.add_agents("a")
    world.connect("a")
    world.want(replace(Spec("t-1", "one"), **spec))
    world.assigned = next(message for message in world.said_to("a") if isinstance(message, Assign))
    world.say("a", Accepted("t-1", 1))
    world.say("a", Complete("t-1", 1, {"summary": "ok", "branch": "a/t-1-one"}))
    return world


@pytest.mark.parametrize(
    ("policy", "spec", "state"),
    [
        (Reviews.WITH_REPO, {}, State.DONE),
        (Reviews.WITH_REPO, {"repo": "app"}, State.IN_REVIEW),
        (Reviews.WITH_REPO, {"repo": "app", "review": False}, State.DONE),
        (Reviews.WITH_REPO, {"repo": "none"}, State.DONE),
        (Reviews.WITH_REPO, {"review": True}, State.IN_REVIEW),
        (Reviews.ALWAYS, {}, State.IN_REVIEW),
        (Reviews.ALWAYS, {"review": False}, State.DONE),
        (Reviews.NEVER, {"repo": "app"}, State.DONE),
        (Reviews.NEVER, {"repo": "app", "review": True}, State.IN_REVIEW),
    ],
)
def test_the_word_of_a_task_wins_and_the_policy_speaks_for_the_rest(
    policy: Reviews, spec: dict[str, object], state: State
) -> None:
    assert complete(Policy(review=policy), **spec).state() is state


@pytest.mark.parametrize(
    ("spec", "repo"),
    [
        ({}, "app"),
        ({"repo": "lib"}, "lib"),
        ({"repo": "none"}, None),
        ({"kind": "note"}, None),
        ({"kind": "code"}, "app"),
    ],
)
def test_a_task_that_names_no_repository_is_for_the_default_one_unless_it_is_a_note(
    spec: dict[str, object], repo: str | None
) -> None:
    world = complete(Policy(repos={"app": APP}, default_repo="app"), **spec)
    assert world.assigned.repo == repo
    assert world.assigned.target == (APP if repo == "app" else None)


def test_a_merge_ends_the_review_and_stands_in_the_status() -> None:
    world = complete(Policy(), repo="app")
    world.handle(Asked(Event.APPROVED, "t-1", PERSON, "merged as cccccccccc", merged="c" * 40))
    status = world.task().status
    assert (status.status, status.merged) == (State.DONE, "c" * 40)
    assert status.reviews[-1].approve


def test_a_task_that_runs_again_has_no_merge_any_more() -> None:
    world = complete(Policy(), repo="app")
    world.handle(Asked(Event.APPROVED, "t-1", PERSON, merged="c" * 40))
    world.handle(Asked(Event.RERUN, "t-1", PERSON))
    assert world.task().status.merged is None
