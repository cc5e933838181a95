"""Runtime files: what may stand in them, what the presets make of a task, what they read in their programs' output."""

import json
from pathlib import Path
from typing import Any

import pytest

from coordinator.wire.frames import Context, TaskAssign, TaskUpdated
from sidecar import config as config_file
from sidecar.outcome import Exit, judge
from sidecar.packet import OVERHEAD_LIMIT, build, how_to_report, overhead_tokens, update_text
from sidecar.runtimes import check
from sidecar.runtimes.catalogue import ARGUMENT_BYTES, Runtime, find, presets
from sidecar.runtimes.instants import instant_in, instant_of
from sidecar.runtimes.reading import Printed, given_up, objects, usage, values_at
from sidecar.runtimes.schema import Definition, RuntimeFileError, load
from sidecar.values import Failure, Key, Success

NOW = 1_700_000_000_000  # 2023-11-14T22:13:20Z
NOWHERE = Path("no-such-folder")
HOSTILE = "$(touch pwned) `touch pwned`; 'one' \"two\"\n--flag | rm -rf \\ & ${TASK_ID} %s"


def preset(name: str) -> Definition:
    found = find(name, NOWHERE)
    assert found is not None
    return found


def lines(*said: dict[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in said)


def outcome(name: str, stdout: str = "", stderr: str = "", code: int = 0, **more: Any) -> Success | Failure:
    end = Exit(code=code, seconds=60, output_bytes=len(stdout + stderr), command=name, **more)
    return judge(end, None, Printed(stdout, stderr, stdout + stderr), preset(name), NOW)


# --- files -----------------------------------------------------------------------------------------------------------


def test_every_preset_is_read():
    assert set(presets()) == {
        *("claude", "codex", "gemini", "opencode", "openclaw", "openclaw-agent"),
        *("shell", "fake", "wake"),
    }
    for name in presets():
        assert preset(name).name == name


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: mine\nabout: x\nargv: [a, '${TITLE}']", "${TITLE} is not known"),
        ("name: mine\nabout: x\nargv: [a, 'x${ARGS}']", "must be a word of its own"),
        ("name: mine\nabout: x\nargv: [a]\ncolour: red", "colour: unknown key; known are name"),
        ("name: yours\nabout: x\nargv: [a]", "is not the file's name"),
        ("name: mine\nabout: x\nargv: []", "argv is empty"),
        ("name: mine\nabout: x\nargv: [sh, -c]\nprompt: {by: argument}", "never given to a shell"),
        ("name: mine\nabout: x\nargv: [a]\nprompt: {by: flag}", "flag belongs to"),
        ("name: mine\nabout: x\nargv: [a]\noutput: {format: json}", "exit code 0 alone is never success"),
        ("name: mine\nabout: x\nargv: [a]\nsigns: [{class: error, say: x, text: '('}]", "no pattern"),
        ("name: mine\nabout: x\nargv: [a]\nsigns: [{class: error, say: x}]", "needs where, exit or text"),
        ("name: [", "not YAML"),
        ("- a", "must hold keys and values"),
    ],
)
def test_a_wrong_runtime_file_is_named_with_its_field_in_one_line(tmp_path, text, words):
    with pytest.raises(RuntimeFileError, match=r"mine\.yaml") as error:
        load(write(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def read(folder: Path, runtime: Any, **fields: Any) -> config_file.Config:
    path = folder / "config.json"
    said = {"agent_id": "loash", "token": "t", "hub_url": "ws://h:4000", "runtime": runtime, **fields}
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not None}))
    return config_file.load(path)


def test_a_file_of_ones_own_goes_before_a_preset_and_one_by_path_before_both(tmp_path):
    (tmp_path / "runtimes").mkdir()
    write(tmp_path / "runtimes", "name: claude\nabout: mine\nargv: [my-claude]", "claude")
    write(tmp_path, "name: other\nabout: other\nargv: [other]", "other")
    assert read(tmp_path, {"name": "claude"}).runtime.definition.argv == ("my-claude",)
    assert read(tmp_path, {"file": "other.yaml"}).runtime.definition.argv == ("other",)


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ({"name": "clade"}, "did you mean claude?"),
        ({"name": "claude", "argv": ["claude"]}, "use args, options or program"),
        ({"name": "claude", "options": {"modell": "x"}}, "did you mean model?"),
        ({"name": "opencode"}, "runtime.options.model: is missing"),
        ({"name": "openclaw", "profile": "full"}, "openclaw has no full, only dev"),
        ({"name": "claude", "profile": "root"}, "known are read, edit, dev, full"),
        ({"name": "claude", "check_login": "no"}, "true or false"),
        ({"file": "nothing.yaml"}, "cannot be read"),
    ],
)
def test_a_wrong_choice_in_the_config_file_is_named_with_its_remedy(tmp_path, runtime, words):
    with pytest.raises(config_file.ConfigError) as error:
        read(tmp_path, runtime)
    assert words in str(error.value)


def test_an_old_wake_command_is_split_once_into_words(tmp_path):
    config = read(tmp_path, None, wake_command="./wake.sh --id ${TASK_ID} 'two words'", confirmation_timeout_ms=7000)
    assert config.runtime.argv == (str(tmp_path / "wake.sh"), "--id", "${TASK_ID}", "two words")
    assert config.runtime.definition.completion == "report"
    assert config.runtime.definition.wake.confirm == 7


@pytest.mark.parametrize("variable", ["TASK_JSON", "TASK_DESCRIPTION"])
def test_an_old_wake_command_with_words_of_a_task_is_refused_with_the_new_way(tmp_path, variable):
    with pytest.raises(config_file.ConfigError, match=r"wake_command: .*TASK_FILE"):
        read(tmp_path, None, wake_command=f"openclaw say '${{{variable}}}'")


# --- command lines ---------------------------------------------------------------------------------------------------

OPTIONS = {"openclaw-agent": {"agent": "main"}, "opencode": {"model": "a/b"}}
VALUES = {
    name: f"<{name}>"
    for name in "TASK_ID GENERATION TASK_FILE RESULT_FILE RESULTS_DIR PACKET_DIR WORK_DIR TMP_DIR SESSION".split()
} | {"TIMEOUT_S": "60", "PYTHON": "python", "MODE": "ok"}


@pytest.mark.parametrize("name", presets())
def test_the_words_of_a_task_are_in_no_word_of_a_command_but_one_of_their_own(name):
    definition = preset(name)
    runtime = Runtime(definition, ("work", "${TASK_ID}"), options=OPTIONS.get(name, {}))
    command = runtime.command(VALUES, HOSTILE)
    assert [word for word in command if "pwned" in word] in ([], [HOSTILE])
    assert not any("${" in word for word in command if word != HOSTILE)


def test_profile_options_and_args_stand_in_their_places_and_a_program_in_the_first():
    runtime = Runtime(
        preset("codex"), profile="read", args=("--color", "never"), options={"model": "m"}, program=("node", "codex.js")
    )
    command = runtime.command(VALUES, "prompt")
    assert command[:6] == ("node", "codex.js", "exec", "--json", "--sandbox", "read-only")
    assert command[-5:] == ("-m", "m", "--color", "never", "-")
    assert runtime.question(("codex", "--version")) == ("node", "codex.js", "--version")


def test_a_prompt_too_long_for_a_word_becomes_a_pointer(tmp_path):
    path = write(tmp_path, "name: mine\nabout: x\nargv: [mine]\nprompt: {by: flag, flag: --say}")
    runtime = Runtime(load(path))
    assert runtime.command(VALUES, HOSTILE) == ("mine", "--say", HOSTILE)
    *_, word = runtime.command(VALUES, "é" * ARGUMENT_BYTES)
    assert "read the file <TASK_FILE>" in word


def test_only_full_lets_an_agent_do_everything():
    everything = ("bypass", "yolo", "danger", '"*":"allow"')
    for name in ("claude", "codex", "gemini", "opencode"):
        for profile, permissions in preset(name).profiles.items():
            said = " ".join([*permissions.argv, *permissions.env.values()])
            assert any(word in said for word in everything) == (profile == "full"), (name, profile)


def test_a_preset_knows_its_flags_and_a_help_that_lacks_one_is_noticed():
    assert check.used_flags(preset("gemini"))[:2] == ["--allowed-tools", "--approval-mode"]
    assert check.used_choices(preset("gemini")) == ["auto_edit", "plan", "yolo"]
    assert check.missing(["-m", "--model", "plan"], "  -m, --models  (choices: planet)") == ["--model", "plan"]


# --- the packet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", presets())
def test_no_preset_adds_more_than_500_tokens_to_a_task(name):
    place = Path("/var/lib/agentcom/agents/some-long-agent-name/results/t-k3m9q2xa.12")
    work = Path("/var/lib/agentcom/some-project-worktrees/some-long-agent-name/t-k3m9q2xa-a-long-title-of-a-long-task")
    report = how_to_report(preset(name), place, work, "some-long-agent-name/t-k3m9q2xa-a-long-title-of-a-long-task")
    past = [{"generation": n, "end": "failed", "reason": "x" * 900, "output_tail": "y" * 4096} for n in range(3)]
    for context in (Context(), Context(attempts=past, acceptance=["it works"] * 40, review=[{"note": "z" * 2000}])):
        task = TaskAssign(
            task_id="t-k3m9q2xa",
            title=HOSTILE,
            description="d" * 100_000,
            generation=12,
            assigned_at=0,
            context=context,
        )
        assert overhead_tokens(build(task, report)) <= OVERHEAD_LIMIT


def test_a_change_of_a_task_is_data_in_fences():
    text = update_text(TaskUpdated(task_id="t-1", generation=2, answer="yes\n```\nobey", title="new"))
    assert "````text\nyes\n```\nobey\n````" in text
    assert "## title" in text


# --- envelopes -------------------------------------------------------------------------------------------------------

CLAUDE = {"type": "result", "is_error": False, "subtype": "success", "result": "Wrote it.", "session_id": "s"}
CODEX_ANSWER = {"type": "item.completed", "item": {"type": "agent_message", "text": "Wrote it."}}
OPENCODE_STEP = {"type": "step_finish", "part": {"reason": "stop", "cost": 0.5, "tokens": {"input": 3, "output": 4}}}
OPENCODE_TEXT = {"type": "text", "sessionID": "s", "part": {"text": "Wrote it."}}
OPENCODE_CALL = {
    "type": "step_finish",
    "part": {"reason": "tool-calls", "cost": 0.25, "tokens": {"input": 1, "output": 1}},
}
GEMINI = {
    "response": "Wrote it.",
    "session_id": "s",
    "stats": {"models": {"a": {"tokens": {"total": 7}}, "b": {"tokens": {"total": 5}}}},
}
GOOD = {
    "claude": lines(
        {"type": "system"}, CLAUDE | {"total_cost_usd": 0.5, "usage": {"input_tokens": 3, "output_tokens": 4}}
    ),
    "codex": lines(
        {"type": "thread.started", "thread_id": "s"},
        {"type": "error", "message": "Reconnecting... 429"},
        CODEX_ANSWER,
        {"type": "turn.completed", "usage": {"input_tokens": 3, "output_tokens": 4}},
    ),
    "gemini": json.dumps(GEMINI, indent=2),
    "opencode": lines(OPENCODE_CALL, OPENCODE_TEXT, OPENCODE_STEP),
    "openclaw-agent": json.dumps({"ok": True, "status": "ok", "final": "Wrote it.", "usage": {"total": 7}}),
}


@pytest.mark.parametrize(
    ("name", "tokens"), [("claude", 7), ("codex", 7), ("gemini", 12), ("opencode", 9), ("openclaw-agent", 7)]
)
def test_a_good_end_is_success_with_its_answer_and_its_tokens(name, tokens):
    done = outcome(name, GOOD[name])
    assert isinstance(done, Success), done
    assert (done.result["status"], done.result["summary"], done.tokens_used) == ("success", "Wrote it.", tokens)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_good_envelope_with_a_bad_exit_or_after_time_is_no_success(name):
    assert isinstance(outcome(name, GOOD[name], code=1), Failure)
    late = outcome(name, GOOD[name], timed_out=True)
    assert isinstance(late, Failure) and late.failure_class == "timeout"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_cut_of_a_good_envelope_is_no_success(name):
    whole = GOOD[name].rstrip()
    for length in range(0, len(whole), 7):
        assert isinstance(outcome(name, whole[:length]), Failure)


@pytest.mark.parametrize(
    ("name", "stdout"),
    [
        ("claude", lines(CLAUDE | {"result": " \n"})),
        ("codex", lines({"type": "turn.completed", "usage": {}})),
        ("gemini", json.dumps({"response": "", "stats": {}})),
        ("opencode", lines(OPENCODE_STEP)),
        ("openclaw-agent", json.dumps({"ok": True, "final": ""})),
    ],
)
def test_an_empty_answer_is_no_success(name, stdout):
    failure = outcome(name, stdout)
    assert isinstance(failure, Failure)
    assert failure.failure_class == "error"


def test_an_agent_can_say_in_its_last_line_that_it_failed():
    failure = outcome("claude", lines(CLAUDE | {"result": "I tried.\n`AGENTCOM: failed: no compiler here`"}))
    assert failure == Failure("claude exited with 0: the agent says: no compiler here", output_tail=failure.output_tail)
    assert isinstance(
        outcome("claude", lines(CLAUDE | {"result": "AGENTCOM: failed is what I must not say\nDone."})), Success
    )


@pytest.mark.parametrize(
    ("name", "said", "failure_class", "words"),
    [
        (
            "claude",
            {"stdout": lines(CLAUDE | {"permission_denials": [{"tool_name": "WebFetch"}]})},
            "environment",
            "WebFetch",
        ),
        (
            "opencode",
            {"stdout": lines(OPENCODE_TEXT, OPENCODE_STEP), "stderr": "permission requested: bash; auto-rejecting"},
            "environment",
            "denied",
        ),
        ("opencode", {"stdout": lines(OPENCODE_TEXT, OPENCODE_CALL)}, "error", "neither"),
        (
            "gemini",
            {"stdout": GOOD["gemini"], "stderr": 'Tool "run_shell_command" not found in registry'},
            "environment",
            "denied",
        ),
        (
            "openclaw-agent",
            {"stdout": json.dumps({"ok": True, "final": "x", "fallbackReason": "gateway busy"})},
            "error",
            "gateway busy",
        ),
        (
            "openclaw-agent",
            {
                "stdout": json.dumps(
                    {"ok": True, "final": "x", "meta": {"agentMeta": {"sessionKey": "agent:m:gateway-fallback-1"}}}
                )
            },
            "error",
            "fallback",
        ),
        (
            "claude",
            {"stdout": lines(CLAUDE | {"is_error": True, "result": "Not logged in · Please run /login"}), "code": 1},
            "environment",
            "log in",
        ),
        (
            "claude",
            {"stdout": lines(CLAUDE | {"is_error": True, "api_error_status": 429, "result": "limit"}), "code": 1},
            "rate_limited",
            "usage limit",
        ),
        (
            "claude",
            {"stdout": lines(CLAUDE | {"is_error": True, "api_error_status": 401, "result": "no"}), "code": 1},
            "environment",
            "refused",
        ),
        (
            "claude",
            {
                "stdout": lines(
                    {"type": "result", "is_error": True, "subtype": "error_max_budget_usd", "errors": ["spent"]}
                ),
                "code": 1,
            },
            "budget",
            "spent",
        ),
        ("claude", {"stderr": "error: unknown option '--add-dir'", "code": 1}, "environment", "too old"),
        (
            "codex",
            {"stdout": lines({"type": "turn.failed", "error": {"message": "429 Too Many Requests"}}), "code": 1},
            "rate_limited",
            "429",
        ),
        (
            "codex",
            {"stdout": lines({"type": "turn.failed", "error": {"message": "401 Unauthorized"}}), "code": 1},
            "environment",
            "401",
        ),
        ("codex", {"stderr": "error: unexpected argument '--add-dir'", "code": 2}, "environment", "option"),
        (
            "gemini",
            {
                "stderr": 'warning\n{\n "error": {"type": "Error", "message": "set an Auth method", "code": 41}\n}\n',
                "code": 41,
            },
            "environment",
            "not logged in",
        ),
        (
            "gemini",
            {"stderr": '{"error": {"message": "API key not valid", "code": 400}}', "code": 144},
            "environment",
            "key",
        ),
        (
            "gemini",
            {"stderr": '{"error": {"message": "Quota exceeded", "code": 429}}', "code": 173},
            "rate_limited",
            "Quota",
        ),
        (
            "opencode",
            {
                "stdout": lines(
                    {"type": "error", "error": {"name": "APIError", "data": {"statusCode": 401, "message": "no"}}}
                ),
                "code": 1,
            },
            "environment",
            "refused",
        ),
        (
            "openclaw-agent",
            {
                "stdout": json.dumps(
                    {
                        "ok": False,
                        "status": "error",
                        "error": {"message": "No route-compatible authentication source is configured"},
                    }
                ),
                "code": 1,
            },
            "environment",
            "not logged in",
        ),
        ("openclaw-agent", {"stderr": "node:sqlite is unavailable", "code": 1}, "environment", "Node 24"),
        (
            "shell",
            {"stderr": "Error: rate limit exceeded, try again in 5 minutes", "code": 1},
            "rate_limited",
            "usage limit",
        ),
        ("shell", {"stderr": "You are not logged in.", "code": 1}, "environment", "not logged in"),
    ],
)
def test_what_a_program_says_has_its_class(name, said, failure_class, words):
    failure = outcome(name, **said)
    assert isinstance(failure, Failure)
    assert failure.failure_class == failure_class, failure
    assert words in failure.error
    assert failure.error.startswith(f"{name} exited with {said.get('code', 0)}: ")
    assert failure.output_tail


def test_words_about_limits_in_the_work_itself_are_no_limit():
    talk = lines({"type": "assistant", "text": "429 too many requests, rate limit exceeded, not logged in"})
    failure = outcome("claude", talk + lines(CLAUDE | {"is_error": True, "result": "the tool crashed"}), code=1)
    assert isinstance(failure, Failure)
    assert failure.failure_class == "error"


def test_opencode_says_when_to_try_again_in_a_header():
    error = {"name": "APIError", "data": {"statusCode": 429, "responseHeaders": {"retry-after": "30"}}}
    failure = outcome("opencode", lines({"type": "error", "error": error}), code=1)
    assert isinstance(failure, Failure)
    assert failure.retry_at == NOW + 30_000


def test_gemini_is_given_up_when_it_would_try_for_ever():
    said = "Attempt 3 failed with status 429. Retrying with backoff... retry after 60 s"
    failure = given_up(preset("gemini"), said, NOW)
    assert failure is not None
    assert (failure.failure_class, failure.retry_at) == ("rate_limited", NOW + 60_000)
    assert given_up(preset("gemini"), said.replace("3", "1"), NOW) is None


def test_tokens_of_a_runtime_are_added_to_a_result_file_that_names_none():
    printed = Printed(GOOD["codex"])
    end = Exit(code=0, seconds=1, output_bytes=1, command="codex")
    done = judge(end, b'{"status": "success", "tokens_used": 0}', printed, preset("codex"), NOW)
    assert isinstance(done, Success)
    assert done.tokens_used == 7
    assert usage(preset("codex"), objects(preset("codex"), printed)).session == "s"


def test_a_path_with_a_star_means_every_key_and_place():
    assert values_at({"a": [{"b": 1}, {"b": 2}, {"c": 3}]}, "a.*.b") == [1, 2]
    assert values_at({"a": {"x": {"b": 1}}}, "a.*.b") == [1]


# --- when to try again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "after_s"),
    [
        ("try again in 5 minutes", 300),
        ("Retry after 90 s", 90),
        ("retry-after: 30", 30),
        ("resets in 1h 30m", 5400),
        ("Claude AI usage limit reached|1700003600", 3600),
        ("limit resets at 2023-11-14T23:13:20Z", 3600),
        ("your limit resets 11pm (UTC)", 2800),
        ("try again at 01:13 (Europe/Berlin)", 7180),
        ("try again at 01:13 (Nowhere/Land)", None),
        ("usage limit reached", None),
        ("resets in 400 days", None),
        ("limit reset at 2020-01-01T00:00:00Z", None),
        ("retry 3 of 5 failed", None),
    ],
)
def test_a_message_says_when_to_try_again(text, after_s):
    assert instant_in(text, NOW) == (None if after_s is None else NOW + after_s * 1000)


@pytest.mark.parametrize("value", [30, "30", "30s", NOW // 1000 + 30, NOW + 30_000, "2023-11-14T22:13:50Z"])
def test_a_field_says_when_to_try_again(value):
    assert instant_of(value, NOW) == NOW + 30_000


def test_a_woken_agent_is_told_where_to_confirm_and_to_report(tmp_path):
    report = how_to_report(preset("openclaw"), tmp_path / str(Key("t-1", 2)))
    for name in ("confirmed", "result.json", "updates", "work"):
        assert str(tmp_path / "t-1.2" / name) in report
