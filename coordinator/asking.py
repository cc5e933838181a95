"""What a person may ask of one task, as keys of its file: decided from what the task is, before anything is written.

Pure. Every word is refused when it would change nothing, in one line that says why. Where things stand is read by
``desk``; how a file is changed is the business of ``files/taskfile``.

    Pointless                   the word would change nothing; the text says why and what to do instead
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordinator.core.machine import FINISHED, OPEN, State
from coordinator.core.task import Answer, Decision, Spec
from coordinator.files.rewrite import Value


class Pointless(Exception):
    """The word would change nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One task as it stands: what people want of it, where that is written, and what the hub made of it.

    ``data`` is the file ``path`` as saved, or (``own`` false) as it would be taken over from the hub. ``state`` is None
    while no hub has read the task; ``rerun`` is the hub's count. ``line`` names the line of BACKLOG.md with this id.
    """

    spec: Spec
    path: str
    data: bytes
    own: bool = True
    state: State | None = None
    generation: int = 0
    rerun: int = 0
    line: str = ""

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def finished(self) -> bool:
        return self.state in FINISHED


@dataclass(frozen=True, slots=True)
class Ask:
    """What should be done: keys to set or take away, the subject of the commit, and what follows.

    With ``by_hub`` it follows once a hub has read the commit.
    """

    what: str
    subject: str
    values: Mapping[str, Value] = field(default_factory=dict)
    follows: str = ""
    by_hub: bool = True


def create(task_id: str, title: str, *, held: bool) -> Ask:
    """Write down a new task."""
    follows = (
        f"it waits until `agentcom task release {task_id}`" if held else "a fitting agent gets it as soon as it may run"
    )
    return Ask("created", f"Add task {task_id}: {title}", {}, follows)


def edit(task: Standing, values: Mapping[str, Value]) -> Ask:
    """Change what is wanted; of a finished task it counts from its next run on."""
    if task.finished:
        follows = f"it is {task.state}, and that counts from `agentcom task rerun {task.id}` on"
        return Ask("edited", f"Edit task {task.id}", values, follows, by_hub=False)
    return Ask("edited", f"Edit task {task.id}", values, "it is in force")


def hold(task: Standing) -> Ask:
    """Let a task wait."""
    _open(task, "there is nothing to hold")
    if task.spec.hold:
        raise Pointless(f"{task.id} is held already: {task.path} says hold: true")
    if task.state is State.IN_REVIEW:
        raise Pointless(f"{task.id} is in review and does not run: approve or reject it")
    owned = task.state in OPEN and task.state is not State.QUEUED
    follows = "the attempt in hand runs on, after it the task waits" if owned else "it waits"
    return Ask("held", f"Hold task {task.id}", {"hold": True}, f"{follows} until `agentcom task release {task.id}`")


def release(task: Standing) -> Ask:
    """Let a held task go on."""
    _open(task, "there is nothing to release")
    if not task.spec.hold:
        raise Pointless(f"{task.id} is not held; `agentcom task why {task.id}` says what it waits for")
    return Ask("released", f"Release task {task.id}", {"hold": False}, "it goes on")


def cancel(task: Standing) -> Ask:
    """Give a task up."""
    _open(task, "there is nothing to cancel")
    if task.spec.cancel and task.state is None:
        raise Pointless(f"{task.path} says cancel: true already, and no hub has read it yet")
    if task.spec.cancel:
        hint = "if it is not cancelled soon, delete that line, commit, and cancel again"
        raise Pointless(f"{task.path} says cancel: true already: {hint}")
    return Ask("cancelled", f"Cancel task {task.id}", {"cancel": True}, "it is cancelled")


def rerun(task: Standing) -> Ask:
    """Run a finished task, or one in review, again."""
    if task.state is None:
        raise Pointless(f"no hub has read {task.id} yet: it runs without that")
    if not task.finished and task.state is not State.IN_REVIEW:
        raise Pointless(f"{task.id} is {task.state}, not finished: it needs no rerun")
    if task.spec.rerun > task.rerun:
        raise Pointless(f"{task.path} says rerun: {task.spec.rerun} already, and no hub has read it yet")
    held = ", but it is held" if task.spec.hold else ""
    values: dict[str, Value] = {"rerun": task.rerun + 1, "cancel": False}
    return Ask("rerun", f"Run task {task.id} again", values, f"it is queued again, with retries forgotten{held}")


def answer(task: Standing, text: str) -> Ask:
    """Answer the question of a blocked task."""
    if task.state is not State.BLOCKED:
        raise Pointless(f"{task.id} asks nothing: {_not(task, 'blocked')}")
    if task.spec.answer == Answer(task.generation, text):
        raise Pointless(f"{task.path} gives that answer already")
    said: Value = {"generation": task.generation, "text": text}
    return Ask("answered", f"Answer task {task.id}", {"answer": said}, "the answer is handed on")


def decide(task: Standing, *, approve: bool, note: str = "") -> Ask:
    """Approve a result in review, or ask for changes."""
    if task.state is not State.IN_REVIEW:
        raise Pointless(f"there is no result of {task.id} to judge: {_not(task, 'in review')}")
    if task.spec.decision == Decision(task.generation, approve, note):
        raise Pointless(f"{task.path} says that already, and no hub has read it yet")
    said: dict[str, Value] = {"generation": task.generation, "approve": approve}
    values: dict[str, Value] = {"review_decision": said | ({"note": note} if note else {})}
    if approve:
        return Ask("approved", f"Approve task {task.id}", values, "it is done")
    return Ask("rejected", f"Ask for changes of task {task.id}", values, "it is queued again, with your note")


def remove(task: Standing) -> Ask:
    """Delete the file of a task."""
    if not task.own and task.line:
        raise Pointless(f"{task.id} has no file: it is {task.line}, delete that line")
    if not task.own and task.finished:
        raise Pointless(f"{task.id} has no file: it is {task.state} and stays in the trail")
    if not task.own:
        raise Pointless(f"{task.id} has no file: give it up by `agentcom task cancel {task.id}`")
    subject = f"Remove task {task.id}"
    if task.finished:
        return Ask("removed", subject, {}, f"it is {task.state} and stays in the trail", by_hub=False)
    if task.state is None:
        return Ask("removed", subject, {}, "no hub had read it", by_hub=False)
    follows = f"{task.line} is in force again" if task.line else "it is cancelled"
    return Ask("removed", subject, {}, follows)


def _open(task: Standing, otherwise: str) -> None:
    if task.finished:
        raise Pointless(f"{task.id} is {task.state} already: {otherwise}")


def _not(task: Standing, wanted: str) -> str:
    return "no hub has read it yet" if task.state is None else f"it is {task.state}, not {wanted}"
