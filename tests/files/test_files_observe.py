"""What a source commit says, what is wrong in it, and what stays in force while something is wrong."""

from dataclasses import replace

import pytest

from coordinator.core.policy import Lane
from coordinator.core.task import Origin
from coordinator.files import emitter, layout
from coordinator.files.observe import Known, Observation, Observer
from coordinator.memory import MemorySource
from coordinator.ports import Author, Entry


class People:
    """A source, an observer, and what a hub would know after each look."""

    def __init__(self) -> None:
        self.source = MemorySource()
        self.observer = Observer(self.source, "trunk")
        self.known = Known()
        self.observed: str | None = None

    def write(self, files: dict[str, str | bytes | None], who: str = "Ada") -> None:
        content = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
        self.source.commit(content, Author(who, f"{who}@example.org"), time_ms=7)

    def look(self) -> Observation:
        """Observe the tip, and take it over as a hub does: every specification is a task from now on."""
        tip = self.source.tip()
        assert tip is not None
        seen = self.observer.look(tip, self.observed, self.known)
        again = Observer(self.source, "trunk").look(tip, self.observed, self.known)
        assert again.specs.keys() == seen.specs.keys() and again.backlog == seen.backlog
        self.observed = tip
        self.known = replace(
            self.known,
            used=self.known.used | seen.specs.keys(),
            specs=seen.specs,
            backlog=seen.backlog,
            accepted_tasks={name: spec.blob for name, spec in seen.specs.items() if spec.origin is Origin.FILE},
            accepted_agents={name: agent.blob for name, agent in seen.agents.items()},
            accepted_policy=seen.policy.blob,
        )
        return seen

    def restart(self) -> None:
        """Forget what only memory knows: the observer's shelves, and people's specifications."""
        self.observer = Observer(self.source, "trunk")
        hub_made = {name: spec for name, spec in self.known.specs.items() if spec.origin is not Origin.FILE}
        self.known = replace(self.known, specs=hub_made)


@pytest.fixture
def people() -> People:
    return People()


def titles(seen: Observation) -> dict[str, str]:
    return {name: spec.title for name, spec in seen.specs.items()}


def said(seen: Observation) -> list[str]:
    return [str(problem) for problem in seen.problems]


def test_a_commit_says_its_tasks_agents_policy_and_backlog(people):
    people.write(
        {
            "BACKLOG.md": "## Inbox\n- idea\n## Ready\n- [ ] go #now\n",
            "tasks/t-file.yaml": "title: From a file\n",
            "agents/loash.yaml": "capabilities: [python]\n",
            "agentcom.yaml": "retries: {max: 1}\n",
            "tasks/README.md": "# read me\n",
            "tasks/backlog/t-x.yaml": "what the hub wrote and somebody pulled\n",
        }
    )
    seen = people.look()
    idea, go = (entry.id for entry in seen.backlog.entries)
    assert said(seen) == []
    assert titles(seen) == {"t-file": "From a file", go: "go"}
    assert seen.places == {idea: (Lane.DRAFT, 0), go: (Lane.READY, 1)}
    assert seen.specs[go].where == "BACKLOG.md:4"
    assert seen.specs[go].blob == emitter.blob_id(emitter.emit_spec(seen.specs[go]))
    assert seen.agents["loash"].capabilities == ("python",)
    assert seen.policy.retries.max == 1
    assert (seen.author.name, seen.time_ms) == ("Ada", 7)
    assert {name: author.name for name, author in seen.authors.items()} == dict.fromkeys(("t-file", go), "Ada")
    assert layout.fold({layout.BACKLOG_MAP: seen.backlog_json}).backlog == seen.backlog


def test_only_what_changed_has_a_new_author(people):
    people.write({"tasks/a.yaml": "title: a\n", "tasks/b.yaml": "title: b\n"})
    people.look()
    people.write({"tasks/b.yaml": "title: bb\n"}, "Bea")
    assert {name: author.name for name, author in people.look().authors.items()} == {"b": "Bea"}


def test_a_wrong_file_keeps_its_last_good_version_and_stops_nothing_else(people):
    people.write({"tasks/a.yaml": "title: good\n", "tasks/b.yaml": "title: b\n"})
    good = people.look().specs["a"]
    people.write({"tasks/a.yaml": "titel: bad\n", "tasks/b.yaml": "title: edited\n"})
    for restarted in (False, True):
        if restarted:
            people.restart()
        seen = people.look()
        assert seen.specs["a"] == good
        assert seen.specs["b"].title == "edited"
        assert said(seen)[0] == "tasks/a.yaml:1:1: titel: unknown key, did you mean title?"
        assert not seen.undecided


def test_a_new_wrong_file_is_undecided_and_only_a_problem(people):
    people.write({"tasks/a.yaml": "- x\n", "agents/b.yaml": "role: admin\n"})
    seen = people.look()
    assert (seen.specs, seen.agents) == ({}, {})
    assert (seen.undecided, seen.undecided_agents) == ({"a"}, {"b"})
    assert len(seen.problems) == 2


def test_a_secret_keeps_the_last_good_version_of_a_file_and_of_an_item(people):
    people.write({"tasks/a.yaml": "title: a\n", "BACKLOG.md": "## Ready\n- deploy\n- test\n"})
    before = people.look()
    secret = "gl" + "pat-" + "aB3dE6gH9" * 3
    people.write(
        {
            "tasks/a.yaml": f"title: a\ndescription: with {secret}\n",
            "BACKLOG.md": f"## Ready\n- deploy with {secret}\n- test\n- new with {secret}\n",
        }
    )
    for restarted in (False, True):
        if restarted:
            people.restart()
        seen = people.look()
        assert titles(seen) == titles(before)
        secrets = [line.partition(" (")[0] for line in said(seen) if "looks like" in line]
        assert secrets == [
            "BACKLOG.md:2:15: looks like a GitLab token",
            "BACKLOG.md:4:12: looks like a GitLab token",
            "tasks/a.yaml:2:19: looks like a GitLab token",
        ]
        assert secret not in str(seen.problems) + str(seen.specs) + str(seen.backlog_json)


def test_a_problem_names_the_task_that_stays_as_it_was_because_of_it(people):
    people.write({"tasks/a.yaml": "title: a\n"})
    people.look()
    people.write(
        {
            "tasks/a.yaml": "titel: a\n",
            "tasks/new.yaml": "- x\n",
            "tasks/c.yaml": "title: c\ndepends_on: [nowhere]\n",
            "agents/loash.yaml": "role: admin\n",
            "BACKLOG.md": "## Ready\n- one need:python\n- two\n  goes on\n  for long due:never\n",
        }
    )
    seen = people.look()
    assert [(problem.path, problem.line, problem.task_id) for problem in seen.problems] == [
        ("BACKLOG.md", 2, ""),  # a remark: the line is in force
        ("BACKLOG.md", 5, seen.backlog.entries[1].id),
        ("agents/loash.yaml", 1, ""),
        ("tasks/a.yaml", 1, "a"),
        ("tasks/a.yaml", 1, "a"),
        ("tasks/c.yaml", 2, ""),  # the file is in force, and the task waits
        ("tasks/new.yaml", 1, "new"),
    ]


def test_a_wrong_agent_or_policy_keeps_its_last_good_version_after_a_restart_too(people):
    people.write({"agents/loash.yaml": "name: Loash\n", "agentcom.yaml": "suspend: true\n"})
    first = people.look()
    people.write({"agents/loash.yaml": "nam: Loash\n", "agentcom.yaml": "suspend: yes\n"})
    for restarted in (False, True):
        if restarted:
            people.restart()
        seen = people.look()
        assert (seen.agents, seen.policy) == (first.agents, first.policy)
        assert said(seen) == [
            "agentcom.yaml:1:10: suspend: expected true or false, got yes, write true",
            "agents/loash.yaml:1:1: nam: unknown key, did you mean name?",
        ]


def test_a_deleted_file_is_gone(people):
    people.write({"tasks/a.yaml": "title: a\n", "agentcom.yaml": "suspend: true\n"})
    people.look()
    people.write({"tasks/a.yaml": None, "agentcom.yaml": None})
    seen = people.look()
    assert seen.specs == {}
    assert not seen.policy.suspend


def test_a_backlog_that_cannot_be_read_leaves_the_last_one_in_force(people):
    people.write({"BACKLOG.md": "## Ready\n- a\n- b\n"})
    before = people.look()
    people.write({"BACKLOG.md": b"## Ready\n- \xff\n"})
    for restarted in (False, True):
        if restarted:
            people.restart()
        seen = people.look()
        assert (seen.specs, seen.places, seen.backlog) == (before.specs, before.places, before.backlog)
        assert said(seen) == ["BACKLOG.md:2:3: the file is not UTF-8, save it as UTF-8"]


def test_a_removed_line_is_gone_and_a_draft_never_was_a_task(people):
    people.write({"BACKLOG.md": "## Ready\n- a\n- b\n## Inbox\n- c\n"})
    assert sorted(titles(people.look()).values()) == ["a", "b"]
    people.write({"BACKLOG.md": "## Ready\n- b\n"})
    assert list(titles(people.look()).values()) == ["b"]


def test_a_task_that_moved_back_to_a_draft_lane_stays_a_task(people):
    people.write({"BACKLOG.md": "## Ready\n- a\n"})
    name = people.look().backlog.entries[0].id
    people.write({"BACKLOG.md": "## Inbox\n- a\n"})
    seen = people.look()
    assert list(seen.specs) == [name]
    assert seen.places == {name: (Lane.DRAFT, 0)}


def test_a_line_first_seen_ticked_is_no_task_and_a_later_tick_means_done(people):
    people.write({"BACKLOG.md": "## Ready\n- [x] a\n- [ ] b\n- [ ] c\n"})
    assert list(titles(people.look()).values()) == ["b", "c"]
    people.write({"BACKLOG.md": "## Ready\n- [x] a\n- [x] b\n- [-] c\n"})
    seen = people.look()
    assert {spec.title: (spec.done, spec.cancel) for spec in seen.specs.values()} == {
        "b": (True, False),
        "c": (False, True),
    }


def test_a_moved_line_changes_places_and_no_specification(people):
    people.write({"BACKLOG.md": "## Ready\n- a\n- b\n"})
    before = people.look()
    people.write({"BACKLOG.md": "## Ready\n\nSome words.\n\n- b\n- a\n"})
    after = people.look()
    assert {name: spec.blob for name, spec in after.specs.items()} == {n: s.blob for n, s in before.specs.items()}
    assert {name: place for name, (_, place) in after.places.items()} == {
        name: 1 - place for name, (_, place) in before.places.items()
    }


def test_versions_between_two_looks_carry_ids_forward(people):
    people.write({"BACKLOG.md": "## Ready\n- Fix the login\n- b\n"})
    before = people.look().backlog.entries[0].id
    people.write({"BACKLOG.md": "## Ready\n- Something else entirely\n- b\n"})
    people.write({"BACKLOG.md": "## Ready\n- b\n- And now a third thing\n- Something else entirely\n"})
    assert titles(people.look())[before] == "Something else entirely"


def test_a_persons_file_overrides_the_backlog_item_of_the_same_id(people):
    people.write({"BACKLOG.md": "## Ready\n- a\n"})
    name = people.look().backlog.entries[0].id
    people.write({f"tasks/{name}.yaml": "title: mine\n"})
    seen = people.look()
    assert (seen.specs[name].title, seen.specs[name].origin) == ("mine", Origin.FILE)
    people.write({f"tasks/{name}.yaml": None})
    seen = people.look()
    assert (seen.specs[name].title, seen.specs[name].origin) == ("a", Origin.BACKLOG)


def test_an_item_with_a_wrong_word_keeps_its_last_good_version(people):
    people.write({"BACKLOG.md": "## Ready\n- a timeout:5m\n- b\n"})
    before = people.look()
    people.write({"BACKLOG.md": "## Ready\n- a timeout:soon\n- b\n- c due:never\n"})
    for restarted in (False, True):
        if restarted:
            people.restart()
        seen = people.look()
        assert seen.specs == before.specs
        assert [problem.line for problem in seen.problems] == [2, 4]


def test_a_wrong_file_with_the_id_of_a_line_leaves_that_line_as_it_is(people):
    people.write({"BACKLOG.md": "## Inbox\n- idea <!-- t-idea -->\n## Ready\n- go <!-- t-go -->\n"})
    before = people.look()
    assert titles(before) == {"t-go": "go"}
    people.write({"tasks/t-idea.yaml": "- x\n", "tasks/t-go.yaml": "- x\n"})
    seen = people.look()
    assert seen.specs == before.specs
    assert seen.undecided == {"t-idea"}


def test_a_dependency_of_a_version_that_no_longer_stands_there_has_no_place(people):
    needy = "title: a\n\n\ndepends_on: [nobody]\n"
    people.write({"tasks/a.yaml": needy, "tasks/b.yaml": needy, "BACKLOG.md": "\n## Ready\n- e depends:nothing\n"})
    people.look()
    people.write({"tasks/a.yaml": "- x\n", "BACKLOG.md": b"\xff"})
    for _ in range(2):
        there = [one for one in said(people.look()) if "there is no task" in one]
        assert [one.partition(" there")[0] for one in there] == [
            "BACKLOG.md: depends:",
            "tasks/a.yaml: depends_on:",
            "tasks/b.yaml:4:13: depends_on:",
        ]
        people.restart()


def test_unknown_and_circular_dependencies_are_named(people):
    people.write(
        {
            "tasks/a.yaml": "title: a\ndepends_on: [b]\n",
            "tasks/b.yaml": "title: b\ndepends_on: [c]\n",
            "tasks/c.yaml": "title: c\ndepends_on:\n  - a\n",
            "tasks/d.yaml": "title: d\ndepends_on: [nobody, a]\n",
            "BACKLOG.md": "## Ready\n- e depends:nothing\n",
        }
    )
    assert said(people.look()) == [
        "BACKLOG.md:2: depends: there is no task nothing, correct the id; until then this task waits",
        "tasks/a.yaml:2:13: depends_on: tasks wait for one another: a -> b -> c -> a, delete one of these dependencies",
        "tasks/d.yaml:2:13: depends_on: there is no task nobody, correct the id; until then this task waits",
    ]


def test_a_dependency_on_a_finished_task_is_fine(people):
    people.known = replace(people.known, used=frozenset({"old"}), finished=frozenset({"old"}))
    people.write({"tasks/a.yaml": "title: a\ndepends_on: [old]\n"})
    assert said(people.look()) == []


def test_names_that_are_no_ids_or_no_yaml_are_problems(people):
    people.write(
        {
            "tasks/main.yaml": "title: a\n",
            "tasks/trunk.yaml": "title: a\n",
            "tasks/Big.yaml": "title: a\n",
            "tasks/t-1.yml": "title: a\n",
            "tasks/sub/t-1.yaml": "title: a\n",
            "agents/api/x.yaml": "the hub's\n",
        }
    )
    assert [str(problem).partition(",")[0] for problem in people.look().problems] == [
        "tasks/Big.yaml: the file name is no id",
        "tasks/main.yaml: the id main is reserved",
        "tasks/sub: a folder is not read",
        "tasks/t-1.yml: is not read",
        "tasks/trunk.yaml: the id trunk is reserved",
    ]


def test_links_submodules_and_large_files_are_never_opened(people):
    class Odd(MemorySource):
        def entries(self, commit):
            return {
                **super().entries(commit),
                "tasks/link.yaml": Entry("120000", "1" * 40, 5),
                "tasks/module.yaml": Entry("160000", "2" * 40, -1),
                "tasks/large.yaml": Entry("100644", "3" * 40, 1 << 30),
                "agentcom.yaml": Entry("120000", "4" * 40, 5),
                "BACKLOG.md": Entry("100644", "5" * 40, 1 << 30),
                "agents": Entry("120000", "6" * 40, 5),
            }

        def blobs(self, oids):
            assert not set(oids) & {digit * 40 for digit in "123456"}
            return super().blobs(oids)

    people.source = Odd()
    people.observer = Observer(people.source, "trunk")
    people.source.commit({"tasks/a.yaml": b"title: a\n"})
    seen = people.observer.look(people.source.tip(), None, Known())
    assert titles(seen) == {"a": "a"}
    assert [str(problem).partition(",")[0] for problem in seen.problems] == [
        "BACKLOG.md: has 1",
        "agentcom.yaml: is a symbolic link",
        "agents: is no folder",
        "tasks/large.yaml: has 1",
        "tasks/link.yaml: is a symbolic link",
        "tasks/module.yaml: is a submodule",
    ]


def test_unchanged_blobs_are_parsed_once(people):
    asked: list[tuple[str, ...]] = []
    blobs = people.source.blobs

    def counting(oids, largest=None):
        asked.append(oids)
        return blobs(oids, largest)

    people.source.blobs = counting
    people.write({f"tasks/t-{n}.yaml": f"title: {n}\n" for n in range(20)} | {"BACKLOG.md": "## Ready\n- a\n"})
    tip = people.source.tip()
    first = people.observer.look(tip, None, people.known)
    asked.clear()
    assert people.observer.look(tip, None, people.known) == first
    assert asked == []


def test_two_lines_with_one_anchor_are_reported_and_the_first_counts(people):
    people.write({"BACKLOG.md": "## Ready\n- a <!-- t-1 -->\n- b <!-- t-1 -->\n"})
    seen = people.look()
    assert titles(seen) == {"t-1": "a"}
    assert said(seen) == ["BACKLOG.md:3: the id t-1 stands twice, delete the comment here to make a new task"]


def test_a_policy_that_names_another_root_is_reported_and_not_taken(people):
    people.write({"agentcom.yaml": "root: .agentcom\nsuspend: true\n"})
    seen = people.look()
    assert not seen.policy.suspend
    assert said(seen) == [
        "agentcom.yaml: root: is .agentcom, but this hub keeps its files in ., "
        "write root: ., it is settled by the first start of a hub"
    ]


def test_a_file_name_that_ends_in_spec_is_no_id(people):
    people.write({"tasks/foo.spec.yaml": "title: x\n", "agents/b.spec.yaml": "tokens: []\n"})
    seen = people.look()
    assert (seen.specs, seen.agents) == ({}, {})
    assert [line.partition(", ")[0] for line in said(seen)] == [
        "agents/b.spec.yaml: the file name is no id",
        "tasks/foo.spec.yaml: the file name is no id",
    ]


@pytest.mark.parametrize("wrong", [b"- [ ] first kind:nonsense <!-- t-1 -->\n", b"- [ ] first <!-- t-1 -->\n\xff\n"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_task_whose_file_goes_while_its_line_cannot_be_read_stays_as_it_is(people, wrong, restarts):
    people.write({"BACKLOG.md": "## Ready\n- [ ] first <!-- t-1 -->\n"})
    people.look()
    people.write({"tasks/t-1.yaml": "title: mine\n"})
    people.look()
    people.write({"BACKLOG.md": b"## Ready\n" + wrong})
    people.look()
    people.write({"tasks/t-1.yaml": None})
    if restarts:
        people.restart()
    assert titles(people.look()) == {"t-1": "mine"}
    people.write({"BACKLOG.md": "## Ready\n- [ ] first <!-- t-1 -->\n"})
    assert titles(people.look()) == {"t-1": "first"}


def test_a_file_for_a_finished_task_says_that_it_starts_nothing_unless_rerun_is_raised(people):
    people.write({"tasks/t-1.yaml": "title: x\n"})
    people.look()
    people.known = replace(people.known, finished={"t-1"})
    people.write({"README.md": "x"})
    assert said(people.look()) == []
    people.write({"tasks/t-1.yaml": "title: quite another\n"})
    assert said(people.look()) == [
        "tasks/t-1.yaml: the task t-1 is finished, this edit starts nothing, "
        "raise rerun in it, or give new work another file name"
    ]
    people.write({"tasks/t-1.yaml": "title: quite another\nrerun: 1\n"})
    assert said(people.look()) == []


def test_opening_the_line_of_a_finished_task_again_says_that_it_starts_nothing(people):
    people.write({"BACKLOG.md": "## Ready\n- [ ] a <!-- t-1 -->\n"})
    people.look()
    people.write({"BACKLOG.md": "## Ready\n- [x] a <!-- t-1 -->\n"})
    people.look()
    people.known = replace(people.known, finished={"t-1"})
    people.write({"BACKLOG.md": "## Ready\n- [ ] a <!-- t-1 -->\n"})
    (line,) = said(people.look())
    assert line.startswith("BACKLOG.md:2: the task t-1 is finished, taking its mark away starts nothing, raise rerun")
    people.write({"BACKLOG.md": "## Ready\n"})
    people.look()
    people.write({"BACKLOG.md": "## Ready\n- [ ] a <!-- t-1 -->\n"})
    (line,) = said(people.look())
    assert line.startswith("BACKLOG.md:2: the task t-1 is finished, putting its line back starts nothing, raise rerun")


def test_other_words_in_the_place_of_a_line_say_which_task_they_are_taken_for(people):
    people.write({"BACKLOG.md": "## Ready\n- [ ] paint the house\n- [ ] z\n"})
    name = next(name for name, spec in people.look().specs.items() if spec.title == "paint the house")
    people.write({"BACKLOG.md": "## Ready\n- [ ] paint the houses\n- [ ] z\n"})
    assert said(people.look()) == [], "a typing mistake put right is no news"
    people.write({"BACKLOG.md": "## Ready\n- [ ] file the taxes\n- [ ] z\n"})
    (line,) = said(people.look())
    assert line.startswith(f"BACKLOG.md:2: is taken for paint the houses in other words, still the task {name}, if it")


def test_any_number_of_wrong_dependencies_costs_one_look_at_the_files(people):
    asked: list[tuple[str, ...]] = []
    blobs = people.source.blobs

    def counting(oids, largest=None):
        asked.append(oids)
        return blobs(oids, largest)

    people.write({f"tasks/t-{n}.yaml": "title: x\ndepends_on: [no-1, no-2, no-3]\n" for n in range(5)})
    people.source.blobs = counting
    assert len(said(people.observer.look(people.source.tip(), None, people.known))) == 15
    assert len(asked) == 2
