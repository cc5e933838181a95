"""Where a running hub can be found, written down as soon as the disk takes it.

This module decides what it means that a hub cannot say where it listens: work goes on, agents know the address anyway,
and it is tried again at each beat. It does not know what is written, nor where.
"""

import logging
from collections.abc import Callable

_log = logging.getLogger("agentcom.hub")


class Doorplate:
    """Calls ``put_up`` until it has gone well once; an OSError is one line in the log, however often it comes."""

    def __init__(self, put_up: Callable[[], None]) -> None:
        self._put_up = put_up
        self._hangs = self._missed = False

    def beat(self) -> None:
        """Try, unless it has gone well already."""
        if self._hangs:
            return
        try:
            self._put_up()
        except OSError as error:
            if not self._missed:
                _log.warning("commands on this machine do not find this hub yet, it is tried again: %s", error)
            self._missed = True
            return
        self._hangs = True
        if self._missed:
            _log.info("commands on this machine find this hub again")
