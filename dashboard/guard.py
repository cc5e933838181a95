"""The door of the pages: it knows the machine's token and the agents, and asks ``door`` what that means."""

from collections.abc import Callable

from coordinator.core.agent import Role
from coordinator.core.timers import Now
from coordinator.web.auth import Doorkeeper, Principal
from dashboard.door import Caller, is_local, opens


class Guard:
    """Who may look. ``token`` is the machine's admin token, None where there is none and only this machine looks.

    Not ``trusting``, it takes nobody for local: every request comes through a proxy, which may be on this machine.
    """

    def __init__(self, token: str | None, keeper: Doorkeeper, now: Callable[[], Now], *, trusting: bool = True) -> None:
        self._trusting = trusting
        self._token = token
        self._keeper = keeper
        self._now = now

    def knows(self, caller: Caller) -> bool:
        """Tell whether somebody may look who shows no token. May be called from any thread."""
        return (self._trusting and is_local(caller)) or (caller.cookie is not None and self.opens(caller.cookie))

    def opens(self, key: str) -> bool:
        """Tell whether a key of a link is good now. May be called from any thread."""
        return self._token is not None and opens(self._token, key, self._now().wall)

    def bears(self, header: str | None) -> bool:
        """Tell whether an ``Authorization`` header carries a token that may read. On the loop."""
        principal = self._keeper.bearer(header, self._now().wall)
        return isinstance(principal, Principal) and principal.may(Role.READER)
