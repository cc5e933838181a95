"""Errors of the core, named by their remedy.

CoreError
  +-- Bug            the core contradicts its own table: the hub stops rather than go on with wrong state
"""


class CoreError(Exception):
    """Something in the core went wrong."""


class Bug(CoreError):
    """The core reached a state that its table does not allow; the message names event, states and task."""
