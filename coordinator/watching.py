"""When to show a plan, to commit and to pull in a work tree that somebody edits: ``handle(event, now) -> effects``.

What is promised here: nothing is shown before a save has settled; nothing is committed that was not shown, before
nobody has changed anything for the settle time, or while something is in the way; what was refused is said once, and
not tried again as it is. This module knows no file, no git and no clock; ``now`` is seconds on a monotonic clock.
Looks may come as often as they like.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import assert_never

from coordinator.ports import Edit

#: A save has settled when nothing has changed for so long, in seconds: editors truncate and write, or rename.
QUIET_S = 0.5
#: How often to look without any hint, in seconds.
LOOK_EVERY_S = 1.0
#: What is saved is committed after so many seconds without a change, unless the person says otherwise.
SETTLE_S = 20.0
#: Git locks the index for moments: this is named as the reason only when it lasts longer, in seconds.
BRIEF_S = 5.0
#: A commit that something kept off, which only a try can tell, is tried again after so many seconds.
AGAIN_S = 10.0
#: Pause after a change, and between two pulls, in seconds.
CALM_S = 2.0
PULL_EVERY_S = 5.0
#: A pull that was refused is tried again when a branch has moved, or after so many seconds.
PULL_AGAIN_S = 60.0

NOTHING_LEFT = "everything saved is committed"

Edits = tuple[Edit, ...]

# --- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found.

    edits     what is saved and not committed
    tips      the commits that source and state branch name, in whatever form
    away      why nothing here is the source's business now (another branch, a rebase); "" when it is
    busy      why nobody should commit at this moment, "" when one may; ``brief`` when that usually lasts a moment
    behind    the state branch is ahead and could be pulled
    """

    edits: Edits = ()
    tips: Hashable = None
    away: str = ""
    busy: str = ""
    brief: bool = False
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Assessed:
    """What some edits would do: ``block`` is what a person should see of it, ``ready`` what may be committed.

    ``held`` tells that nothing may be, because the hub would hold it back until somebody has looked.
    """

    edits: Edits
    block: Hashable
    ready: Edits = ()
    held: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """These edits are in a commit now."""

    edits: Edits


@dataclass(frozen=True, slots=True)
class Refused:
    """The commit was not made; ``again`` when the same may go well later without another save."""

    text: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Pulled:
    """The source branch is where the state branch is."""


@dataclass(frozen=True, slots=True)
class NotPulled:
    """Git, or the state of the repository, refused a pull."""

    text: str


Event = Looked | Assessed | Committed | Refused | Pulled | NotPulled

# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assess:
    """Find out what these edits would do, and come back with ``Assessed``."""

    edits: Edits


@dataclass(frozen=True, slots=True)
class Show:
    """Show a block of ``Assessed``."""

    block: Hashable


@dataclass(frozen=True, slots=True)
class Say:
    """Say one line."""

    text: str


@dataclass(frozen=True, slots=True)
class Count:
    """Say that these edits are committed in so many seconds; ``first`` when a countdown begins."""

    left: int
    edits: Edits
    first: bool


@dataclass(frozen=True, slots=True)
class StopCount:
    """The countdown is over, one way or another."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Commit these edits, if they are still what is saved, and come back with ``Committed`` or ``Refused``."""

    edits: Edits


@dataclass(frozen=True, slots=True)
class Pull:
    """Pull, and come back with ``Pulled`` or ``NotPulled``."""


Effect = Assess | Show | Say | Count | StopCount | Commit | Pull


@dataclass(slots=True)
class Watching:
    """The watch over one work tree as a value that steps: feed events, perform the effects in order.

    ``settle`` is how long nothing must change before a commit, in seconds; None: never commit.
    """

    settle: float | None = None
    _edits: Edits = ()
    _changed_at: float = -math.inf
    #: The settle time runs from here: the last change, or the end of something that was in the way.
    _count_from: float = -math.inf
    _counting: bool = False
    _assessed: Assessed | None = None
    #: Where the branches stood when this was assessed.
    _assessed_tips: Hashable = None
    _tips: Hashable = None
    _block: Hashable = None
    _tried: Edits | None = None
    _again_at: float = -math.inf
    _busy_since: float | None = None
    _said: dict[str, str] = field(default_factory=dict)
    _pull_at: float = -math.inf
    _pull_failed: tuple[Hashable, float] | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event, return what is to be done, in order."""
        match event:
            case Looked():
                return self._looked(event, now)
            case Assessed():
                return self._take(event, now)
            case Committed(edits):
                self._forget(edits)
                self._pull_at = max(self._pull_at, now + CALM_S)
                return []
            case Refused(text, again):
                self._again_at = now + AGAIN_S
                self._tried = None if again or self._assessed is None else self._assessed.ready
                return self._once("refused", text)
            case Pulled():
                self._said.pop("pull", None)
                self._pull_failed = None
                return []
            case NotPulled(text):
                self._pull_failed = self._tips, now + PULL_AGAIN_S
                return self._once("pull", text)
        assert_never(event)

    def wait(self, now: float) -> float:
        """Return after how many seconds to look again if there is no hint."""
        until = self._changed_at + QUIET_S - now
        if until <= 0 and self._counting and self.settle is not None:
            until = self._count_from + self.settle - now
        return min(until, LOOK_EVERY_S) if until > 0 else LOOK_EVERY_S

    @property
    def pending(self) -> Edits:
        """What would be committed if nothing came in between."""
        if self.settle is None or self._assessed is None or self._assessed.held:
            return ()
        return self._assessed.ready

    # --- one look

    def _looked(self, seen: Looked, now: float) -> list[Effect]:
        self._tips = seen.tips
        if seen.away:
            self._assessed = None
            self._changed_at = self._count_from = now
            return [*self._stop_count(), *self._once("away", seen.away)]
        self._said.pop("away", None)
        if not seen.busy:
            self._free(now)
        effects: list[Effect] = []
        if seen.edits != self._edits:
            self._edits, self._changed_at, self._count_from = seen.edits, now, now
            self._assessed = self._tried = None
            self._said.pop("refused", None)
            effects += self._stop_count()
        if now - self._changed_at < QUIET_S:
            return effects
        if self._is_news():
            if self._edits:
                return [*effects, Assess(self._edits)]
            effects += self._nothing_left()
        effects += self._commit(seen, now)
        if not any(isinstance(effect, Commit) for effect in effects):
            effects += self._pull(seen, now)
        return effects

    def _free(self, now: float) -> None:
        """Nothing is in the way; after something that was named the person gets the whole time to think again."""
        self._busy_since = None
        if self._said.pop("busy", None) is not None:
            self._count_from = now
            self._counting = False

    def _is_news(self) -> bool:
        """Tell whether what is saved has to be looked into: not yet done, or held where the hub may have gone on."""
        if self._assessed is None:
            return True
        return self._assessed.held and self._assessed_tips != self._tips

    def _nothing_left(self) -> list[Effect]:
        shown, self._block = self._block, None
        self._assessed, self._assessed_tips = Assessed((), None), self._tips
        return [Say(NOTHING_LEFT)] if shown is not None else []

    def _take(self, found: Assessed, now: float) -> list[Effect]:
        if found.edits != self._edits:
            return []
        self._assessed, self._assessed_tips = found, self._tips
        effects: list[Effect] = []
        if found.block != self._block:
            self._block = found.block
            effects += [*self._stop_count(), Show(found.block)]
        return [*effects, *self._count(now)]

    # --- committing

    def _commit(self, seen: Looked, now: float) -> list[Effect]:
        """Go on with the countdown, or commit when it is over."""
        ready = self.pending
        if not ready or ready == self._tried:
            return self._stop_count()
        if counting := self._count(now):
            return counting
        if seen.busy:
            return self._wait_for(seen, now)
        if now < self._again_at:
            return []
        return [*self._stop_count(), Commit(ready)]

    def _count(self, now: float) -> list[Effect]:
        """Return the countdown as it stands, nothing when it is over or there is none."""
        left = 0.0 if self.settle is None else self._count_from + self.settle - now
        if not self.pending or left <= 0:
            return []
        first, self._counting = not self._counting, True
        return [Count(math.ceil(left), self.pending, first)]

    def _wait_for(self, seen: Looked, now: float) -> list[Effect]:
        """Say what is in the way, once, and not for a moment's lock."""
        if self._busy_since is None:
            self._busy_since = now
        if seen.brief and now - self._busy_since < BRIEF_S:
            return []
        return [*self._stop_count(), *self._once("busy", seen.busy)]

    def _forget(self, committed: Edits) -> None:
        """Take what was committed for done; what waits besides it is known already and shown."""
        left = tuple(edit for edit in self._edits if edit not in committed)
        self._said.pop("refused", None)
        self._tried = None
        self._edits = left
        self._assessed, self._assessed_tips = Assessed(left, self._block), self._tips
        if not left:
            self._block = None

    def _stop_count(self) -> list[Effect]:
        was, self._counting = self._counting, False
        return [StopCount()] if was else []

    def _once(self, what: str, text: str) -> list[Effect]:
        """Say something unless it was the last thing said about this matter."""
        if self._said.get(what) == text:
            return []
        self._said[what] = text
        return [Say(text)]

    # --- pulling

    def _pull(self, seen: Looked, now: float) -> list[Effect]:
        if not seen.behind or seen.busy or now - self._changed_at < CALM_S or now < self._pull_at:
            return []
        if self._pull_failed is not None and self._pull_failed[0] == seen.tips and now < self._pull_failed[1]:
            return []
        self._pull_at = now + PULL_EVERY_S
        return [Pull()]
