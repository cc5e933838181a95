"""docs/lifecycle.md, drawn from the tables that run: ``python -m coordinator.drawing``.

Pure text; a test compares the committed page with what this module returns.
"""

from coordinator.core.machine import AGENT, FINISHED, TASK, AgentState, Event, State

_COLUMNS = (State.QUEUED, State.ASSIGNED, State.WORKING, State.BLOCKED, State.IN_REVIEW, State.DONE)
#: Arrows that would only clutter the picture: what ends any open task is said in one sentence.
_ANYWHERE = frozenset({Event.CANCEL, Event.DELETED, Event.DONE_BY_HAND, Event.DEADLINE, Event.ORPHANED, Event.NEW_HUB})


def page() -> str:
    """Return the whole page as Markdown."""
    return "\n".join(
        [
            "# The life of a task",
            "",
            "Drawn by `make lifecycle` from the tables in `coordinator/core/machine.py`, which are what runs.",
            "Do not edit.",
            "",
            "```mermaid",
            *_diagram(),
            "```",
            "",
            "Any open task can also be cancelled, deleted, done by hand, or fail at its deadline; a rerun opens a",
            "finished one again. Draft, deferred, held, waiting for a dependency, back-off, parked and suspended are",
            "*reasons* that `agentcom task why ID` gives for a queued task, not states.",
            "",
            "## Every event in every state",
            "",
            "A cell names the rule and, after the arrow, where it may lead. A dash means that nothing changes.",
            "",
            *_table(),
            "",
            "## Agents",
            "",
            *_agents(),
            "",
        ]
    )


def _diagram() -> list[str]:
    arrows: dict[tuple[State, State], list[str]] = {}
    for event, row in TASK.items():
        for state, cell in row.items():
            for reached in sorted(cell.to - {state}):
                if event not in _ANYWHERE and not (state in FINISHED and state is not State.FAILED):
                    arrows.setdefault((state, reached), []).append(str(event).replace("_", " "))
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    order = list(State)
    for (begin, end), events in sorted(arrows.items(), key=lambda item: [order.index(state) for state in item[0]]):
        if end is not State.CANCELLED:
            lines.append(f"    {begin} --> {end}: {', '.join(events)}")
    return lines


def _table() -> list[str]:
    heads = [*(str(state).replace("_", " ") for state in _COLUMNS[:-1]), "finished"]
    lines = ["| event | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for event, row in TASK.items():
        cells = []
        for state in _COLUMNS:
            cell = row.get(state)
            if cell is None:
                cells.append("-")
                continue
            reached = sorted(cell.to - {state}, key=list(State).index)
            words = cell.rule.replace("_", " ")
            cells.append(words + (f" → {', '.join(reached).replace('_', ' ')}" if reached else ""))
        lines.append(f"| {str(event).replace('_', ' ')} | " + " | ".join(cells) + " |")
    return lines


def _agents() -> list[str]:
    states = list(AgentState)
    lines = ["| event | " + " | ".join(str(state) for state in states) + " |", "|---" * (len(states) + 1) + "|"]
    for event, row in AGENT.items():
        cells = [f"→ {row[state]}" if state in row else "-" for state in states]
        lines.append(f"| {str(event).replace('_', ' ')} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    print(page(), end="")
