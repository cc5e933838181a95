"""Any tree of files is observed, the same by whoever looks, and what is wrong in it changes only the problems."""

from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st
from support import hostile, hostile_backlog
from support.claims import problems_are_sound
from support.fuzzing import fuzz, no_hang

from coordinator.core.task import Origin
from coordinator.files import emitter, layout, loader
from coordinator.files.observe import Known, Observation, Observer
from coordinator.memory import MemorySource

NAMES = "a b t-1 t-a1b2c3d4 loash main status A ä a.spec x" + "y" * 80
tasks = st.sampled_from(
    [
        f"tasks/{name}"
        for name in [
            *(f"{n}.yaml" for n in NAMES.split()),
            "a.yml",
            "README.md",
            "backlog/t-1.yaml",
            "deep/a.yaml",
            ".yaml",
        ]
    ]
)
agents = st.sampled_from(
    [f"agents/{name}" for name in ["loash.yaml", "gcu.yaml", "a.yml", "api/x.yaml", "b.spec.yaml"]]
)
good = st.sampled_from([b"title: good\n", b"title: other\ndepends_on: [a]\n", b"title: x\ndepends_on: [b]\nrerun: 1\n"])
edits = st.lists(
    st.one_of(
        st.tuples(st.just("BACKLOG.md"), hostile_backlog.files | st.none()),
        st.tuples(st.just("BACKLOG.md"), hostile_backlog.files),
        st.tuples(st.just("agentcom.yaml"), hostile.yaml_files("policy") | st.none()),
        st.tuples(tasks, hostile.yaml_files("task") | good | st.none()),
        st.tuples(tasks, good),
        st.tuples(agents, hostile.yaml_files("agent") | st.just(b"name: x\n") | st.none()),
        st.tuples(st.sampled_from(["tasks", "agents", "src/x.py", "status/hub.yaml"]), st.just(b"x")),
    ),
    min_size=1,
    max_size=5,
).map(dict)


def taken_over(known: Known, seen: Observation) -> Known:
    """Return what a hub knows after an observation: every specification is a task from now on."""
    return replace(
        known,
        used=known.used | seen.specs.keys(),
        specs=seen.specs,
        backlog=seen.backlog,
        accepted_tasks={name: spec.blob for name, spec in seen.specs.items() if spec.origin is Origin.FILE},
        accepted_agents={name: agent.blob for name, agent in seen.agents.items()},
        accepted_policy=seen.policy.blob,
    )


@fuzz("trees")
@given(st.lists(edits, min_size=1, max_size=4))
@example([{"BACKLOG.md": b"\n\n## Ready\n- [ ] a depends:t-1\n"}, {"BACKLOG.md": b"\x80"}])
@example([{"BACKLOG.md": b"## Ready\n- a <!-- t-1 -->\n", "tasks/t-1.yaml": b"- x"}])
@example([dict.fromkeys(["tasks/a.yaml", "tasks/t-1.yaml"], b"title: x\n\ndepends_on: [b]\n"), {"tasks/a.yaml": b""}])
@example([{"tasks/a.yaml": b"title: a\n\n\ndepends_on: [b]\n"}, {"tasks/a.yaml": b"- x"}])
def test_any_tree_is_observed_and_all_who_look_see_the_same(history):
    source = MemorySource()
    observer = Observer(source, "main")
    observed, known, files = None, Known(), {}
    for changes in history:
        commit = source.commit(changes)
        files = {path: data for path, data in {**files, **changes}.items() if data is not None}
        with no_hang():
            seen = observer.look(commit, observed, known)
        assert Observer(source, "main").look(commit, observed, known).backlog == seen.backlog
        sound(seen, files)
        observed, known = commit, taken_over(known, seen)
        again = observer.look(commit, commit, known)
        assert again.specs == seen.specs
        assert (again.places, again.agents, again.backlog) == (seen.places, seen.agents, seen.backlog)


def sound(seen: Observation, files: dict[str, bytes]) -> None:
    for problem in seen.problems:
        problems_are_sound([problem], problem.path, files.get(problem.path, b""))
    assert layout.fold({layout.BACKLOG_MAP: seen.backlog_json}).backlog == seen.backlog
    assert not seen.specs.keys() & seen.undecided
    for name, spec in seen.specs.items():
        assert spec.id == name
        if spec.origin is Origin.BACKLOG:
            assert spec.blob == emitter.blob_id(emitter.emit_spec(spec))
            assert not isinstance(
                loader.load_hub_task(f"tasks/backlog/{name}.yaml", emitter.emit_spec(spec), ""), tuple
            )


@fuzz("hostile files")
@given(edits, hostile.yaml_files("task"), hostile.yaml_files("agent"), hostile_backlog.files)
def test_a_wrong_file_changes_only_the_list_of_problems(files, task, agent, backlog):
    files = {path: data for path, data in files.items() if data is not None} | {"BACKLOG.md": backlog}
    source = MemorySource()
    first = source.commit(files)
    before = Observer(source, "main").look(first, None, Known())
    wrong = {"tasks/zz-task.yaml": task, "agents/zz-agent.yaml": agent}
    after = Observer(source, "main").look(source.commit(wrong), None, Known())
    assert {name: spec for name, spec in after.specs.items() if name != "zz-task"} == before.specs
    assert {name: one for name, one in after.agents.items() if name != "zz-agent"} == before.agents
    assert (after.places, after.backlog, after.policy) == (before.places, before.backlog, before.policy)
    assert after.undecided - {"zz-task"} == before.undecided
    assert ("zz-task" in after.specs) != ("zz-task" in after.undecided)
