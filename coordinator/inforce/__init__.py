"""Every setting in force around a hub, and who said it: what ``agentcom config show`` shows.

Nothing is decided here: values and their origins come from where the hub, the commands and the sidecars settle them
(``coordinator/config.py``, ``coordinator/ground.py``, ``sidecar/config.py``, ...). Nothing is written, no hub is asked.
"""
