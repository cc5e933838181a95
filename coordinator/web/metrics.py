"""What is counted for Prometheus, and the text it reads (``GET /metrics``).

Every label takes its values from a set that is known here or in the core: no id, no path and no name of anybody becomes
one, so that nothing grows without end and nobody is told more than numbers. What a figure means is decided elsewhere.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client import Counter as Count
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from coordinator.core.events import Assign, Message, Record
from coordinator.core.machine import AgentState, State
from coordinator.core.task import Priority, Task
from coordinator.core.timers import Now

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
#: First words of paths; everything else is "other".
_AREAS = frozenset({"admin", "api", "dashboard", "health", "hooks", "metrics", "ready", "ws"})
_OTHER = "other"
_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: So many assignments wait for their frame to go out; more are not timed.
_TIMED = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """What stands in the hub now; ``closes`` are sockets ended by the hub so far, by close code."""

    tasks: Iterable[Task] = ()
    agents: Iterable[AgentState] = ()
    sockets: int = 0
    closes: Mapping[int, int] = field(default_factory=dict)
    commits: int = 0
    flushes: int = 0
    flush_ms: float = 0.0
    read_only: bool = False
    problems: int = 0
    unpushed: int | None = None
    epoch: int = 0
    started_at: int = 0


class Metrics:
    """Counts while the hub works, and reads the rest when it is asked. Every call is made on the hub's loop."""

    def __init__(self, read: Callable[[], Reading], now: Callable[[], Now], version: str) -> None:
        self._read = read
        self._now = now
        self._version = version
        self._registry = CollectorRegistry()
        self._requests = Count(
            "agentcom_http_requests",
            "HTTP requests that were answered; refused handshakes of WebSockets too.",
            ("method", "area", "status"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "agentcom_assignment_latency_seconds",
            "From task runnable and agent free to the assignment on its way, which is after it is on disk.",
            buckets=_LATENCY,
            registry=self._registry,
        )
        self._transitions = Count(
            "agentcom_transitions",
            "Changes of tasks and agents that are on disk, by event.",
            ("event",),
            registry=self._registry,
        )
        self._assigned: set[tuple[str, int]] = set()
        self._registry.register(_Now(self))
        ProcessCollector(registry=self._registry)

    def answered(self, method: str, path: str, status: int) -> None:
        """Count an HTTP answer."""
        area = path.strip("/").partition("/")[0]
        self._requests.labels(
            method if method in _METHODS else _OTHER, area if area in _AREAS else _OTHER, str(status)
        ).inc()

    def recorded(self, record: Record) -> None:
        """Count a change that is durable."""
        self._transitions.labels(record.what).inc()
        if record.what == "assigned" and record.after is not None and len(self._assigned) < _TIMED:
            self._assigned.add((record.after.id, record.after.status.generation))

    def sent(self, message: Message) -> None:
        """Time an assignment that goes out; one that is said again counts no second time."""
        if isinstance(message, Assign):
            key = (message.task.id, message.task.status.generation)
            if key in self._assigned and message.ready_at:
                self._assigned.discard(key)
                self._latency.observe(max(0, self._now().wall - message.ready_at) / 1000)

    def text(self) -> bytes:
        """Return everything in the text format of Prometheus."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Metric]:
        """Yield what is read when it is asked for."""
        now = self._read()
        tasks = Counter((str(task.state), task.spec.priority.word) for task in now.tasks)
        queue = GaugeMetricFamily("agentcom_tasks", "Tasks in memory.", labels=("state", "priority"))
        for state in State:
            for priority in Priority:
                queue.add_metric((str(state), priority.word), tasks[str(state), priority.word])
        yield queue
        agents = Counter(map(str, now.agents))
        standing = GaugeMetricFamily("agentcom_agents", "Agents by what they do now.", labels=("state",))
        for each in AgentState:
            standing.add_metric((str(each),), agents[str(each)])
        yield standing
        closes = CounterMetricFamily("agentcom_socket_closes", "Sockets ended by the hub.", labels=("code",))
        for code, times in sorted(now.closes.items()):
            closes.add_metric((str(code),), times)
        yield closes
        yield SummaryMetricFamily(
            "agentcom_flush_seconds", "Flushes of the journal.", count_value=now.flushes, sum_value=now.flush_ms / 1000
        )
        yield CounterMetricFamily("agentcom_commits", "Commits of this hub since it started.", now.commits)
        for name, what, value in (
            ("sockets", "Sessions that are open.", now.sockets),
            ("read_only", "1 while the branch cannot be written.", int(now.read_only)),
            ("problems", "Lines under problems in agentcom status.", now.problems),
            ("epoch", "How often hubs have claimed the branch.", now.epoch),
            ("start_time_seconds", "When this hub started.", now.started_at / 1000),
        ):
            yield GaugeMetricFamily(f"agentcom_{name}", what, value)
        if now.unpushed is not None:
            yield GaugeMetricFamily("agentcom_unpushed_commits", "Commits that the remote lacks.", now.unpushed)
        version = GaugeMetricFamily("agentcom_build_info", "Which version runs.", labels=("version",))
        version.add_metric((self._version,), 1)
        yield version


class _Now:
    """What the registry asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()


class MeteredNet:
    """The hub's net with a meter in it."""

    def __init__(
        self, send: Callable[[str, str, Message], None], close: Callable[[str, str, str], None], metrics: Metrics
    ) -> None:
        self._send = send
        self._metrics = metrics
        self.close = close

    def send(self, agent: str, session: str, message: Message) -> None:
        """Say something in a session."""
        self._send(agent, session, message)
        self._metrics.sent(message)
