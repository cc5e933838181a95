"""GET /metrics: what is counted, under labels that nobody outside can add to."""

from prometheus_client.parser import text_string_to_metric_families
from support.world import World

from coordinator.core.events import Record, Send
from coordinator.core.task import Spec
from coordinator.core.timers import Now
from coordinator.web.metrics import Metrics, Reading


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def made(reading: Reading | None = None, wall: int = 0) -> Metrics:
    return Metrics(lambda: reading or Reading(), lambda: Now(0.0, wall), "1.2.3")


def test_tasks_stand_there_by_state_and_priority_also_where_there_is_none() -> None:
    world = World()
    world.want(Spec("t-1", title="x"), Spec("t-2", title="y"))
    said = samples(made(Reading(tasks=world.core.memory.tasks.values(), commits=7, flushes=2, flush_ms=30.0)))
    assert said["agentcom_tasks", (("priority", "normal"), ("state", "queued"))] == 2
    assert said["agentcom_tasks", (("priority", "urgent"), ("state", "done"))] == 0
    assert said["agentcom_commits_total", ()] == 7
    assert (said["agentcom_flush_seconds_count", ()], said["agentcom_flush_seconds_sum", ()]) == (2, 0.03)
    assert said["agentcom_build_info", (("version", "1.2.3"),)] == 1
    assert ("agentcom_unpushed_commits", ()) not in said


def test_words_of_strangers_become_no_labels() -> None:
    metrics = made()
    for number in range(100):
        metrics.answered(f"M{number}", f"/secret-{number}", 404)
        metrics.answered("GET", f"/api/tasks/t-{number}", 200)
    requests = {key: value for key, value in samples(metrics).items() if key[0] == "agentcom_http_requests_total"}
    assert sorted(requests.values()) == [100, 100]
    assert not {"secret", "t-1"} & {value for _, labels in requests for _, value in labels}


def test_an_assignment_is_timed_once_from_ready_to_out() -> None:
    world = World()
    world.add_agents("loash")
    world.connect("loash")
    effects = world.want(Spec("t-1", title="x"))
    metrics = made(wall=world.now.wall + 250)
    for effect in effects:
        if isinstance(effect, Record):
            metrics.recorded(effect)
    sends = [effect for effect in effects if isinstance(effect, Send)]
    for effect in (*sends, *sends):
        metrics.sent(effect.message)
    said = samples(metrics)
    assert said["agentcom_assignment_latency_seconds_count", ()] == 1
    assert said["agentcom_assignment_latency_seconds_sum", ()] >= 0.25
    assert said["agentcom_transitions_total", (("event", "assigned"),)] == 1


def test_sockets_ended_by_the_hub_are_counted_by_code() -> None:
    said = samples(made(Reading(closes={4401: 3}, sockets=5)))
    assert said["agentcom_socket_closes_total", (("code", "4401"),)] == 3
    assert said["agentcom_sockets", ()] == 5
