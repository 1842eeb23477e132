"""Which test runs each command that the documents show, or why none can. The first row that fits a command counts.

In a row, `*` is any text. A command that no row fits fails tests/unit/test_documented_commands.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.documented.commands import Command, commands

OPERATORS = "tests/scenarios/test_documented_commands.py::test_commands_of_operators_run_as_they_are_shown"
SHELL = "tests/scenarios/test_documented_commands.py::test_lines_for_a_shell_run_as_they_are_shown"
POSTGRES = "tests/scenarios/test_documented_postgres.py::test_the_way_to_postgresql_and_a_rolling_upgrade_run_as_shown"
SETUP = "tests/scenarios/test_setup_command.py"
INDEX = (
    "It installs from a package index, which no test asks; `.ci/run` runs two commands of the README in a fresh clone."
)
HOURS = "It runs for minutes to hours; a short form of it is among the tests"
AZURE = "It needs an Azure subscription; tests/unit/deploy/test_azure.py checks its parameters and outputs."
HOST = "It changes a machine, as root and with systemd. It was tried by hand in a root made by debootstrap."


@dataclass(frozen=True, slots=True)
class Row:
    """What becomes of the commands that a pattern fits: `by` is the test that runs them, or `cannot` the reason.

    Neither: it only names a command of ours in a sentence; what is named has to exist.
    """

    pattern: str
    by: str = ""
    cannot: str = ""

    def fits(self, command: Command) -> bool:
        return re.fullmatch(re.escape(self.pattern).replace(r"\*", ".*"), command.text, flags=re.DOTALL) is not None


def _run(by: str, *patterns: str) -> Iterator[Row]:
    return (Row(pattern, by=by) for pattern in patterns)


def _cannot(why: str, *patterns: str) -> Iterator[Row]:
    return (Row(pattern, cannot=why) for pattern in patterns)


def _named(*patterns: str) -> Iterator[Row]:
    return (Row(pattern) for pattern in patterns)


ROWS = (
    # --- operators ---
    *_run(
        "tests/scenarios/test_tool_changes.py::test_a_changed_tool_asks_although_a_rule_allows_it_until_it_is_accepted",
        "toolbridge tools --accept deploys/deploy",
    ),
    *_run(
        OPERATORS,
        *("toolbridge policy check*", "toolbridge policy explain *", "toolbridge policy replay *"),
        *("toolbridge audit", "toolbridge audit *", "toolbridge tools *", "toolbridge usage*"),
        *("toolbridge history", "toolbridge history KEY", "toolbridge export KEY", "toolbridge doctor"),
        *("toolbridge --version", "toolbridge --help", "toolbridge completion SHELL"),
        *("toolbridge chat -m *", "toolbridge purge --person *", "toolbridge discord-invite"),
        *("toolbridge backup FILE", "toolbridge history --delete KEY *"),
    ),
    *_run(
        "tests/unit/cli/test_backup.py::test_all_that_was_kept_comes_back_in_an_empty_home_for_its_owner_only",
        "toolbridge restore FILE",
    ),
    *_run(
        "tests/unit/cli/test_health.py::test_it_asks_where_the_settings_have_run_listen",
        "toolbridge health",
        "toolbridge health",
    ),
    *_run(
        "tests/scenarios/test_policy.py::test_a_hangup_reads_the_rules_again_and_a_broken_file_keeps_the_old_ones",
        "kill -HUP",
    ),
    *_named("toolbridge COMMAND", "toolbridge policy", "toolbridge export", "toolbridge purge", "toolbridge backup"),
    *_named("toolbridge restore", "toolbridge restore --force", "toolbridge history --delete", "toolbridge chat -m"),
    # --- lines for a shell ---
    *_run(
        SHELL,
        *("echo * | toolbridge chat", "eval *", "openssl rand *", "{ echo *", "python -c 'from cryptography*"),
        *("15 3 * * * toolbridge cd *", "toolbridge backup --trust *", "toolbridge restore --trust *"),
        *("cd /etc/toolbridge && sudo *", "TOOLBRIDGE_HOME=/tmp/trial *", "rm -r /tmp/trial"),
    ),
    # --- PostgreSQL ---
    *_run(
        POSTGRES,
        *("createuser *", "createdb *", "psql -d toolbridge *", "toolbridge migrate --to 'postgresql://*"),
        *("PROCESS_NAME=* toolbridge run &", "toolbridge run --drain blue", "toolbridge run --drain green"),
    ),
    *_run(
        "tests/unit/cli/test_migrate.py::test_it_says_how_much_was_moved_and_what_to_do_next_but_no_password",
        "toolbridge migrate --to URL",
    ),
    *_run(
        "tests/scenarios/test_two_processes.py::test_run_drain_has_a_process_hand_over_by_its_name_and_waits_until_it_has_ended",
        "toolbridge run --drain *",
    ),
    # --- the terminal, platforms, setup ---
    *_run(
        "tests/scenarios/test_doctor.py::test_a_healthy_setup_has_a_line_for_each_part_and_ends_with_0",
        "toolbridge doctor --trust",
    ),
    *_run("tests/scenarios/test_chat.py::test_operators_list_tools_and_conversations", "toolbridge tools"),
    *_run(
        "tests/scenarios/test_chat.py::test_conversations_keep_their_history_and_their_files_apart",
        "toolbridge chat --conversation release",
    ),
    *_run(
        "tests/scenarios/slack/test_set_up.py::test_the_manifest_is_json_to_paste_with_the_bundled_examples_as_suggested_prompts",
        "toolbridge slack-manifest",
    ),
    *_run(
        "tests/scenarios/slack/test_set_up.py::test_the_manifest_has_the_commands_prefix_and_for_http_the_bots_address",
        "toolbridge slack-manifest --url *",
    ),
    *_run(
        "tests/scenarios/slack/test_set_up.py::test_the_manifest_can_be_for_all_workspaces_of_an_organization",
        "toolbridge slack-manifest --org",
    ),
    *_run("tests/scenarios/test_terminal.py::test_a_whole_session_with_every_command", "toolbridge chat"),
    *_run(
        "tests/scenarios/test_terminal.py::test_a_conversation_is_chosen_and_gets_a_question_of_two_lines_with_a_file",
        "toolbridge chat --resume",
    ),
    *_run("tests/scenarios/test_set_up.py::test_run_answers_a_question_and_ends_cleanly_on_sigterm", "toolbridge run"),
    *_run(
        "tests/scenarios/slack/test_otel.py::test_a_turn_is_one_trace_from_the_question_into_the_tool_server",
        "toolbridge run --model rehearsal",
    ),
    *_run(f"{SETUP}::test_the_whole_way_at_a_terminal", "toolbridge setup"),
    *_run(f"{SETUP}::test_a_local_model_by_its_name_is_found_and_written", "toolbridge setup --model qwen3:8b --yes"),
    *_cannot(
        "It asks OpenAI, Azure, Slack or Discord; tests/scenarios/test_setup_providers.py has them on loopback.",
        *(
            "toolbridge setup --openai *",
            "toolbridge setup --azure-endpoint *",
            "toolbridge setup --slack",
            "toolbridge setup --discord",
        ),
    ),
    *_run(
        f"{SETUP}::test_what_vs_code_would_ask_for_is_answered_by_the_environment_or_refused",
        "toolbridge setup --mcp-from *",
    ),
    *_run(
        "tests/integration/test_mcp_server_process.py::test_other_machines_need_the_token_and_the_bot_sends_it_as_mcp_json_says",
        "python -m mcp_server *0.0.0.0 *",
    ),
    *_run(
        "tests/integration/test_mcp_server_process.py::test_a_process_serves_both_eras_over_http_at_once",
        "python -m mcp_server *--port 8000",
    ),
    # --- a machine, containers, clusters, Azure ---
    *_cannot(
        HOST,
        "useradd *",
        "git clone REPOSITORY *",
        "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt .",
        "install -*",
    ),
    *_cannot(HOST, "cp deploy/systemd/*", "systemctl *", "cd /opt/toolbridge && *"),
    *_cannot(
        "It needs a container engine; run by hand, as docs/deploy.md says at its end, when deploy/ changes.",
        "docker *",
    ),
    *_cannot(
        "It needs a cluster; tests/unit/deploy/test_kubernetes.py checks the files.",
        "kubectl apply *",
        "kubectl --namespace *",
        "cp deploy/kubernetes/*",
    ),
    *_cannot(AZURE, "az *", "out() { az *", "for name in *az keyvault *", "export PGHOST=*", "psql -d postgres *"),
    *_cannot(
        "It needs tools that are in no environment of ours; run by hand when deploy/ changes.",
        "debootstrap *",
        "kubectl kustomize *",
        "hadolint *",
        "checkov *",
        "npx dclint *",
        "docker-compose *",
        "promtool *",
        'python -c "import sys, pycep; *',
        "pip install kubernetes-validate *",
    ),
    *_cannot(
        "It needs root, and an engine or a base made by debootstrap; run by hand when the Dockerfile changes.",
        "python -m tests.image *",
    ),
    # --- installing, and working here ---
    *_cannot(INDEX, "python3 -m venv *", "uv venv *", "pip install", "pip install -c constraints.txt *"),
    *_cannot(
        "It is the check that CI makes of this repository.", "bash .ci/run", ".venv/bin/ruff *", ".venv/bin/pyright *"
    ),
    *_cannot("It runs these tests.", ".venv/bin/python -m pytest *"),
    *_cannot(
        "It needs npm's reference servers or conformance suite.",
        "npm install *",
        "SERVER_EVERYTHING_JS=*",
        "CONFORMANCE_SUITE=*",
        "*python -m tests.conformance *",
    ),
    *_cannot("It needs a LiteLLM proxy in an environment of its own.", "LITELLM/bin/litellm *", "*OPENAI_MODEL=fake *"),
    *_cannot(f"{HOURS}: tests/kills/test_kills.py.", ".venv/bin/python -m tests.kills*"),
    *_cannot(f"{HOURS}: tests/bench/test_bench.py.", "*python -m tests.bench*"),
    *_cannot(f"{HOURS}: tests/failures/test_failures.py and test_processes.py.", "*python -m tests.failures*"),
    *_cannot(f"{HOURS}: tests/integration/test_attacks_*.py.", "*python -m tests.attacks*"),
    *_cannot(f"{HOURS}: tests/soak/test_soak.py.", "*python -m tests.soak"),
    *_cannot(
        f"{HOURS}: tests/integration/test_deliveries_stateful.py.",
        "*python -m tests.integration.test_deliveries_stateful *",
    ),
    *_cannot(
        "It needs the released version, which is no part of the repository.",
        "python -m tests.integration.released.record",
    ),
    *_run(
        "tests/integration/test_fake_openai.py::test_it_runs_as_a_process_of_its_own_until_sigterm",
        "python -m tests.fakes.openai --control",
    ),
    *_run("tests/unit/test_docs.py::test_the_page_of_settings_is_what_the_code_says", "*python -m docs.settings"),
    *_cannot(
        "It draws a picture of the documents anew.", ".venv/bin/python docs/pictures.py", ".venv/bin/python -m docs.*"
    ),
    *_run(
        "tests/failures/test_processes.py::test_another_process_answers_where_one_dies_and_each_message_is_answered_once_and_in_order",
        "python -m bot run",
    ),
)


def row_of(command: Command) -> Row | None:
    """Return the first row that fits."""
    return next((row for row in ROWS if row.fits(command)), None)


def run_by(test: str) -> list[Command]:
    """Return what that test runs, each text once, in the order of the documents."""
    found = {command.text: command for command in reversed(commands()) if (row := row_of(command)) and row.by == test}
    return sorted(found.values(), key=lambda command: (command.document, command.line))
