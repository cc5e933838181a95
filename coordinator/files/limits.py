"""The limits of everything that is read or written as a file or a body, in one table.

Sizes are bytes unless a name says otherwise. This module knows no file and decides nothing.
"""

KIB = 1024
MIB = 1024 * KIB

#: People's YAML files.
YAML_BYTES = 256 * KIB
YAML_DEPTH = 16
YAML_EVENTS = 5_000

#: The hub's own YAML files: escapes may widen a text sixfold, and the hub must be able to read all that it wrote.
HUB_YAML_BYTES = 8 * MIB
HUB_YAML_DEPTH = 24
HUB_YAML_EVENTS = 100_000

TITLE_CHARS = 300
DESCRIPTION_BYTES = 128 * KIB
BACKLOG_BYTES = 2 * MIB
BACKLOG_ITEMS = 20_000
BACKLOG_LINES = 60_000
API_BODY_BYTES = 512 * KIB
REASON_BYTES = 8 * KIB
RESULT_BYTES = 1 * MIB
ORPHAN_BYTES = 64 * KIB
FRAME_BYTES = 16 * MIB
PLAIN_FRAME_BYTES = 1 * MIB

#: A result that is larger as JSON, or nested deeper, stands in a file of its own beside the status.
RESULT_INLINE_BYTES = 16 * KIB
RESULT_INLINE_DEPTH = 8

#: One capability, label, repository or branch name; a person's or an agent's name.
WORD_CHARS = 200
#: Longest duration that may be written, in seconds: one year.
DURATION_S = 366 * 86_400.0
RETRIES = 100
RERUNS = 1_000_000
