"""Settings from the environment and `.env`: what is accepted, what is refused, and that no secret is shown."""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.database import open_database
from bot.domain.errors import SettingsError
from bot.settings import FOREIGN, PREFIXES, Settings, load_settings
from bot.settings.values import Group
from bot.settings_digest import settings_digest
from bot.stores.factory import describe_store, open_store

# What an operator may set, with a value that is not the default: name, text, value.
CONTRACT: Mapping[str, tuple[str, object]] = {
    "AZURE_OPENAI_ENDPOINT": ("https://x.openai.azure.com", "https://x.openai.azure.com"),
    "AZURE_OPENAI_API_KEY": ("azure-secret", "azure-secret"),
    "AZURE_OPENAI_DEPLOYMENT": ("gpt", "gpt"),
    "AZURE_OPENAI_API_VERSION": ("2025-01-01", "2025-01-01"),
    "OPENAI_API_KEY": ("openai-secret", "openai-secret"),
    "OPENAI_BASE_URL": ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
    "OPENAI_MODEL": ("llama", "llama"),
    "MODEL_PROVIDER": ("azure", "azure"),
    "MODEL_API": ("responses", "responses"),
    "MODEL_CONTEXT_TOKENS": ("8000", 8_000),
    "MODEL_REASONING_EFFORT": ("low", "low"),
    "MODEL_MAX_OUTPUT_TOKENS": ("900", 900),
    "MODEL_EXTRA_BODY": ('{"top_k": 5}', '{"top_k": 5}'),
    "MODEL_HEADERS": ('{"x-key": "header-secret"}', '{"x-key": "header-secret"}'),
    "MODEL_REQUESTS_PER_MINUTE": ("30", 30),
    "MODEL_TOKENS_PER_MINUTE": ("90000", 90_000),
    "MODEL_PRICE_INPUT_USD": ("2.5", 2.5),
    "MODEL_PRICE_CACHED_INPUT_USD": ("1.25", 1.25),
    "MODEL_PRICE_OUTPUT_USD": ("10", 10.0),
    "SYSTEM_PROMPT_FILE": ("prompt.txt", Path("prompt.txt")),
    "SLACK_BOT_TOKEN": ("slack-bot-secret", "slack-bot-secret"),
    "SLACK_APP_TOKEN": ("slack-app-secret", "slack-app-secret"),
    "SLACK_SIGNING_SECRET": ("slack-signing-secret", "slack-signing-secret"),
    "SLACK_CLIENT_ID": ("12.34", "12.34"),
    "SLACK_CLIENT_SECRET": ("slack-client-secret", "slack-client-secret"),
    "SLACK_COMMAND_PREFIX": ("tb-", "tb-"),
    "SLACK_BACKFILL_MINUTES": ("2.5", 2.5),
    "SLACK_API_URL": ("http://127.0.0.1:1/", "http://127.0.0.1:1/"),
    "DISCORD_BOT_TOKEN": ("discord-secret", "discord-secret"),
    "DISCORD_ALLOW_DMS": ("true", True),
    "DISCORD_MESSAGE_CONTENT": ("false", False),
    "DISCORD_DEV_GUILD": ("1234", 1234),
    "DISCORD_BACKFILL_MINUTES": ("5", 5.0),
    "DISCORD_API_URL": ("http://127.0.0.1:2", "http://127.0.0.1:2"),
    "DISCORD_GATEWAY_URL": ("ws://127.0.0.1:3", "ws://127.0.0.1:3"),
    "MCP_SERVER_URL": ("http://a:mcp-secret@h/mcp,http://b/mcp", "http://a:mcp-secret@h/mcp,http://b/mcp"),
    "MCP_CONFIG": ("mcp.json", Path("mcp.json")),
    "TOOLBRIDGE_HOME": ("/data", Path("/data")),
    "DATABASE_URL": ("postgresql://u:database-secret@h/d", "postgresql://u:database-secret@h/d"),
    "DATABASE_AUTH": ("entra", "entra"),
    "DATABASE_POOL_MAX": ("3", 3),
    "DATABASE_SCHEMA": ("bot", "bot"),
    "DATABASE_LISTEN_URL": ("postgresql://u:listen-secret@h/d", "postgresql://u:listen-secret@h/d"),
    "TOOLBRIDGE_CONFIG": ("toolbridge.toml", Path("toolbridge.toml")),
    "TOOLBRIDGE_SECRET_KEY": ("one,two", "one,two"),
    "RETENTION_DAYS": ("30", 30),
    "PROCESS_NAME": ("blue", "blue"),
    "DRAIN_S": ("3", 3.0),
    "WEATHER_API_URL": ("http://127.0.0.1:4", "http://127.0.0.1:4"),
    "GEOCODING_API_URL": ("http://127.0.0.1:5", "http://127.0.0.1:5"),
    "MAX_CONVERSATION_LENGTH": ("20", 20),
    "MAX_INPUT_CHARS": ("99", 99),
    "MAX_FILE_MB": ("0.5", 0.5),
    "MAX_TOOL_ROUNDS": ("3", 3),
    "TURN_TIMEOUT_S": ("12.5", 12.5),
    "REQUESTS_PER_MINUTE": ("7", 7),
    "FOLLOW_UPS": ("mention", "mention"),
    "ALLOWED_APPS": ("slack:T1:A1, discord:12", "slack:T1:A1, discord:12"),
    "MAX_THREAD_MESSAGES": ("5", 5),
    "TRACE": ("full", "full"),
    "REDACT": ("trace", "trace"),
    "HTTP_HOST": ("0.0.0.0", "0.0.0.0"),
    "HTTP_PORT": ("9090", 9090),
    "TRUSTED_PROXIES": ("10.0.0.5, fd00::/8", "10.0.0.5, fd00::/8"),
    "METRICS": ("true", True),
    "METRICS_TOKEN": ("metrics-secret", "metrics-secret"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    "OTEL_EXPORTER_OTLP_HEADERS": ("api-key=otlp-secret", "api-key=otlp-secret"),
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": ("TRUE", "true"),
    "LOG_FORMAT": ("json", "json"),
    "LOG_LEVEL": ("debug", "DEBUG"),
    "LOG_CONTENT": ("true", True),
}
SECRETS = [text for name, (text, _) in CONTRACT.items() if "secret" in text and "_URL" not in name]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of our names in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [*CONTRACT, *FOREIGN]:
        monkeypatch.delenv(name, raising=False)


def plain(settings: Settings, name: str) -> object:
    value = getattr(settings, name.lower())
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def write_env(**values: str) -> None:
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    return str(caught.value)


# --- where they come from --------------------------------------------------------------------------------------


def test_the_contract_names_every_setting_that_there_is() -> None:
    assert list(CONTRACT) == [name.upper() for name in Settings.model_fields]


def test_no_group_of_settings_hides_a_field_or_a_check_of_another() -> None:
    groups = [base for base in Settings.__bases__ if issubclass(base, Group)]
    made = {"model_config", "_abc_impl"}  # by pydantic, in every class
    names = [name for group in groups for name in [*group.model_fields, *vars(group)] if not name.startswith("__")]
    assert not [name for name, times in Counter(names).items() if times > 1 and name not in made]


@pytest.mark.parametrize("name", CONTRACT)
def test_a_setting_is_taken_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = CONTRACT[name]
    assert plain(load_settings(), name) != value
    monkeypatch.setenv(name, text)
    assert plain(load_settings(), name) == value


def test_all_settings_are_taken_from_the_env_file() -> None:
    write_env(**{name: text for name, (text, _) in CONTRACT.items()})
    settings = load_settings()
    assert {name: plain(settings, name) for name in CONTRACT} == {name: value for name, (_, value) in CONTRACT.items()}


def test_the_example_file_names_all_settings_in_the_order_of_the_contract() -> None:
    lines = (Path(__file__).parents[2] / ".env.example").read_text(encoding="utf-8").splitlines()
    named = [line.removeprefix("#").partition("=")[0] for line in lines if line.removeprefix("#")[:1].isupper()]
    assert [name for name in named if name.isupper() or "_" in name] == list(CONTRACT)


def test_overrides_go_before_the_environment_and_the_environment_before_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_env(OPENAI_MODEL="file", MAX_TOOL_ROUNDS="1", MAX_INPUT_CHARS="10")
    monkeypatch.setenv("OPENAI_MODEL", "environment")
    monkeypatch.setenv("MAX_TOOL_ROUNDS", "2")
    settings = load_settings(openai_model="override", max_input_chars=None)
    assert (settings.openai_model, settings.max_tool_rounds, settings.max_input_chars) == ("override", 2, 10)


def test_an_empty_value_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    write_env(OPENAI_API_KEY="", MAX_TOOL_ROUNDS="", OPENAI_MODEL="file", DISCORD_API_URL="")
    monkeypatch.setenv("OPENAI_MODEL", "")
    monkeypatch.setenv("HTTP_PORT", "")
    settings = load_settings()
    assert settings.openai_api_key is None
    assert (settings.max_tool_rounds, settings.http_port, settings.openai_model) == (10, 8080, "file")
    assert settings.discord_api_url.startswith("https://discord.com/")


def test_no_file_is_read_where_none_is_wanted_or_there() -> None:
    assert load_settings().provider == "rehearsal"
    write_env(OPENAI_MODEL="file", OPENAI_API_KEY="k")
    assert load_settings(env_file=None).provider == "rehearsal"
    assert load_settings().provider == "openai"


def test_a_file_that_is_no_text_is_refused_with_the_cure() -> None:
    Path(".env").write_bytes(b"OPENAI_MODEL=\xff\xfe\xfa\n")
    assert "UTF-8" in refusal()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().http_port = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  (that is the test)


# --- slips of the pen ------------------------------------------------------------------------------------------

SLIPS = [
    ("AZURE_OPENAI_DEPLOYMNT", "AZURE_OPENAI_DEPLOYMENT"),
    ("AZURE_OPENAI_API_KEYS", "AZURE_OPENAI_API_KEY"),
    ("OPENAI_APIKEY", "OPENAI_API_KEY"),
    ("OPENAI_MODLE", "OPENAI_MODEL"),
    ("SLACK_BOTTOKEN", "SLACK_BOT_TOKEN"),
    ("DISCORD_TOKEN", "DISCORD_BOT_TOKEN"),
    ("MCP_SERVER_URLS", "MCP_SERVER_URL"),
    ("TOOLBRIDGE_HOM", "TOOLBRIDGE_HOME"),
    ("MAX_CONVERSATION_LENGHT", "MAX_CONVERSATION_LENGTH"),
    ("TURN_TIMEOUT", "TURN_TIMEOUT_S"),
    ("DATABASE_POOLMAX", "DATABASE_POOL_MAX"),
    ("DATABASE_SHEMA", "DATABASE_SCHEMA"),
    ("DATABASE_LISTENURL", "DATABASE_LISTEN_URL"),
    ("REQUEST_PER_MINUTE", "REQUESTS_PER_MINUTE"),
]


@pytest.mark.parametrize(("slip", "meant"), SLIPS)
def test_a_misspelt_name_is_refused_with_the_name_that_was_meant(
    slip: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(slip, "a value nobody should see")
    sentence = refusal()
    assert slip in sentence and "the environment" in sentence and "nobody" not in sentence
    assert f"Did you mean {meant}?" in sentence
    monkeypatch.delenv(slip)
    write_env(**{slip: "x"})
    assert ".env" in refusal()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_unknown_name_with_one_of_our_beginnings_is_refused(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{prefix}QQQQQQQQQQQQ", "x")
    assert "It is not a setting: see .env.example" in refusal()


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HOME",
        "LOGLEVEL",
        "HTTP_PORTS",
        "HTTPS_PORT",
        "DATABASE_URI",
        "DATABASE_PASSWORD",
        "DATABASE_SERVICE_HOST",
        *sorted(FOREIGN),
    ],
)
def test_names_of_other_programs_are_left_alone_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    load_settings()


@pytest.mark.parametrize(
    ("slip", "meant"), [("LOGLEVEL", "LOG_LEVEL"), ("HTTP_PORTS", "HTTP_PORT"), ("DATABASE_URI", "DATABASE_URL")]
)
def test_in_our_own_file_they_are_slips_too(slip: str, meant: str) -> None:
    write_env(**{slip: "x"})
    assert f"Did you mean {meant}?" in refusal()


# --- values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_MAX_OUTPUT_TOKENS", "0"),
        ("MODEL_REQUESTS_PER_MINUTE", "0"),
        ("MODEL_TOKENS_PER_MINUTE", "-1"),
        ("MODEL_PRICE_INPUT_USD", "-0.1"),
        ("MODEL_PRICE_OUTPUT_USD", "inf"),
        ("MODEL_EXTRA_BODY", "secret"),
        ("MODEL_EXTRA_BODY", "[]"),
        ("MODEL_EXTRA_BODY", '{"tools": []}'),
        ("MODEL_EXTRA_BODY", "{\u201ctop_k\u201d: 5}"),
        ("MODEL_HEADERS", "X-Key: secret"),
        ("MODEL_HEADERS", '{"x key": "secret"}'),
        ("MODEL_HEADERS", '{"x-key": 5}'),
        ("MODEL_HEADERS", '{"x-key": "secr\u00e9t"}'),
        ("MODEL_HEADERS", '{"x-key": "a\\nsecret"}'),
        ("MAX_TOOL_ROUNDS", "0"),
        ("MAX_TOOL_ROUNDS", "many-secrets"),
        ("MAX_CONVERSATION_LENGTH", "1"),
        ("MAX_CONVERSATION_LENGTH", "1000000"),
        ("TURN_TIMEOUT_S", "0"),
        ("TURN_TIMEOUT_S", "nan"),
        ("MAX_FILE_MB", "-1"),
        ("SLACK_BACKFILL_MINUTES", "-1"),
        ("SLACK_COMMAND_PREFIX", "/secret "),
        ("SLACK_COMMAND_PREFIX", "Secret"),
        ("HTTP_PORT", "70000"),
        ("HTTP_PORT", "on"),
        ("TRUSTED_PROXIES", "10.0.0.5, nginx"),
        ("TRUSTED_PROXIES", "10.0.0.5/8"),
        ("MODEL_API", "secret-api"),
        ("LOG_LEVEL", "LOUD"),
        ("DATABASE_POOL_MAX", "1"),
        ("DATABASE_POOL_MAX", "7"),
        ("DATABASE_AUTH", "secret"),
        ("DATABASE_SCHEMA", "secret schema"),
        ("DATABASE_SCHEMA", "pg_secret"),
        ("DATABASE_SCHEMA", 'a"b'),
        ("DATABASE_LISTEN_URL", "sqlite:///secret.db"),
        ("DATABASE_URL", "postgresql://u:my@secret@h/d"),
        ("DATABASE_URL", "postgresql://u:my/secret@h/d"),
        ("DATABASE_URL", "postgresql://u:12/secret@h/d"),
        ("DATABASE_URL", "postgresql://u:my%secret@h/d"),
        ("PROCESS_NAME", "a\x1b[31msecret"),
        ("DRAIN_S", "-1"),
        ("TRACE", "all"),
        ("MODEL_PROVIDER", "Azure-secret"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_by_its_name_without_being_told(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    sentence = refusal()
    assert name in sentence and ".env.example" in sentence
    assert "secret" not in sentence


def test_no_secret_is_in_an_error_or_its_chain_or_a_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (text, _) in CONTRACT.items():
        monkeypatch.setenv(name, text)
    settings = load_settings()
    shown = f"{settings!r} {settings}"
    assert "max_tool_rounds=3" in shown
    assert not [secret for secret in [*SECRETS, "mcp-secret", "database-secret", "listen-secret"] if secret in shown]
    monkeypatch.setenv("HTTP_PORT", "none")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "secret" not in describe_store(settings.store_url)


@pytest.mark.parametrize("text", ["off", " OFF "])
def test_the_http_listener_can_be_switched_off(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", text)
    assert load_settings().http_port is None


def test_a_port_that_is_none_is_refused_with_both_ways_to_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "none")
    assert "write a port from 0 to 65535, or off" in refusal()


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().proxies == ()
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.5,192.168.0.0/16 ::1")
    assert [str(each) for each in load_settings().proxies] == ["10.0.0.5/32", "192.168.0.0/16", "::1/128"]


# --- which model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "provider"),
    [
        ({}, "rehearsal"),
        ({"AZURE_OPENAI_ENDPOINT": "https://x", "AZURE_OPENAI_DEPLOYMENT": "d"}, "azure"),
        ({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"}, "openai"),
        ({"OPENAI_BASE_URL": "http://x", "OPENAI_MODEL": "m"}, "openai"),
        ({"OPENAI_API_KEY": "k", "OPENAI_MODEL": "m", "MODEL_PROVIDER": "rehearsal"}, "rehearsal"),
    ],
)
def test_the_settings_say_which_model_answers(values: dict[str, str], provider: str) -> None:
    write_env(**values)
    assert load_settings().provider == provider


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"AZURE_OPENAI_API_KEY": "k"}, "AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_DEPLOYMENT"),
        ({"AZURE_OPENAI_ENDPOINT": "https://x"}, "AZURE_OPENAI_DEPLOYMENT"),
        ({"AZURE_OPENAI_API_VERSION": "v"}, "AZURE_OPENAI_ENDPOINT"),
        ({"OPENAI_API_KEY": "k"}, "OPENAI_MODEL"),
        ({"OPENAI_MODEL": "m"}, "OPENAI_API_KEY"),
        ({"MODEL_PROVIDER": "azure"}, "AZURE_OPENAI_ENDPOINT"),
        ({"MODEL_PROVIDER": "openai", "OPENAI_BASE_URL": "http://x"}, "OPENAI_MODEL"),
    ],
)
def test_a_model_that_is_half_set_up_is_an_error_that_names_the_other_half(
    values: dict[str, str], missing: str
) -> None:
    write_env(**values)
    with pytest.raises(SettingsError, match=missing):
        _ = load_settings().provider


def test_with_both_models_set_one_has_to_be_chosen() -> None:
    both = {
        "AZURE_OPENAI_ENDPOINT": "https://x",
        "AZURE_OPENAI_DEPLOYMENT": "d",
        "OPENAI_API_KEY": "k",
        "OPENAI_MODEL": "m",
    }
    write_env(**both)
    with pytest.raises(SettingsError, match="MODEL_PROVIDER=azure or MODEL_PROVIDER=openai"):
        _ = load_settings().provider
    for choice in ("azure", "openai"):
        write_env(**both, MODEL_PROVIDER=choice)
        assert load_settings().provider == choice


# --- where the data is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (None, "/data/toolbridge.db"),
        ("sqlite:///$TOOLBRIDGE_HOME/other.db", "/data/other.db"),
        ("sqlite:////srv/a.db", "/srv/a.db"),
        ("sqlite:///a.db", "a.db"),
    ],
)
def test_the_database_is_in_the_home_folder_or_where_its_url_says(url: str | None, path: str) -> None:
    assert describe_store(load_settings(toolbridge_home="/data", database_url=url).store_url) == path


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://bot:s3cret-pw@db.example.com:5433/tool", "postgresql://db.example.com:5433/tool"),
        ("postgres://bot:s3cret#pw?@[::1]/a%20b?sslmode=require", "postgresql://::1/a b"),
        ("postgresql://a:1,b:2/d?password=s3cret-pw&target_session_attrs=read-write", "postgresql://a:1,b:2/d"),
        ("postgresql:///d?host=/run/pg&user=bot&password=s3cret%2Dpw", "postgresql:///run/pg/d"),
        ("postgresql://", "postgresql:///"),
    ],
)
def test_of_a_postgres_url_the_place_is_shown_and_its_passwords_are_known_secrets(url: str, where: str) -> None:
    settings = load_settings(database_url=url, database_listen_url="postgresql://u:listen-secret@h/d")
    assert describe_store(settings.store_url, schema=settings.database_schema) == f"{where} (schema toolbridge)"
    written = [text for text in ("s3cret-pw", "s3cret#pw?", "s3cret%2Dpw") if text in url]
    assert {*written, "listen-secret"} <= set(settings.secrets)
    assert ("s3cret-pw" in set(settings.secrets)) == ("pw" in url and "#" not in url)  # also as libpq decodes it


def test_the_password_that_libpq_reads_by_itself_is_a_known_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "by-itself")
    assert "by-itself" in set(load_settings().secrets)


def digest(**values: object) -> str:
    return settings_digest(load_settings(toolbridge_secret_key="k", **values))


def test_processes_with_other_settings_have_another_digest(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Be brief.", encoding="utf-8")
    usual = digest(slack_bot_token="xoxb-1", system_prompt_file=prompt)
    assert re.fullmatch("[0-9a-f]{12}", usual)
    assert (
        digest(slack_bot_token="xoxb-1", system_prompt_file=prompt, http_port=9, process_name="b", log_level="DEBUG")
        == usual
    )
    assert digest(slack_bot_token="xoxb-2", system_prompt_file=prompt) != usual
    assert digest(slack_bot_token="xoxb-1", system_prompt_file=prompt, max_tool_rounds=3) != usual
    Path("mcp.json").write_text("{}", encoding="utf-8")
    with_servers = digest(slack_bot_token="xoxb-1", system_prompt_file=prompt)
    assert with_servers != usual
    moved = prompt.rename(tmp_path / "moved.txt")
    assert digest(slack_bot_token="xoxb-1", system_prompt_file=moved) == with_servers
    moved.write_text("Be long.", encoding="utf-8")
    assert digest(slack_bot_token="xoxb-1", system_prompt_file=moved) != with_servers


def test_a_process_is_called_by_its_name_or_its_host_and_number() -> None:
    assert load_settings(process_name="blue").process == "blue"
    assert load_settings().process == f"{socket.gethostname()}:{os.getpid()}"


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite://a.db", "a.db", "mysql:///a", "postgre://u:hunter2@h/d", "postgresql+psycopg://u:hunter2@h/d"),
        *(
            "postgres//u:hunter2@h/d",
            "postgresql:/u:hunter2@h/d",
            "u:hunter2@h/d",
            "u:hunter2://h",
            "Postgresql://u:hunter2@h/d",
        ),
        *("host=h user=u password=hunter2 dbname=d", '"postgresql://u:hunter2@h/d"'),
    ],
)
def test_a_database_that_cannot_be_opened_is_refused_and_its_url_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL: write .*sqlite:///path/to/file") as caught:
        load_settings(database_url=url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(SettingsError, match="sqlite:///path/to/file"):
        open_store(url)
    assert "hunter2" not in describe_store(url)


def test_white_space_around_the_url_of_the_database_is_not_part_of_it() -> None:
    assert load_settings(database_url=" postgresql://u@h/d\n").store_url == "postgresql://u@h/d"


def test_tokens_of_entra_id_are_for_postgresql_only() -> None:
    with pytest.raises(SettingsError, match="Set DATABASE_URL, or unset DATABASE_AUTH"):
        open_database(load_settings(database_auth="entra"))


@pytest.mark.parametrize("name", ["TOOLBRIDGE_HOME", "MCP_CONFIG", "SYSTEM_PROMPT_FILE", "TOOLBRIDGE_CONFIG"])
def test_a_tilde_in_a_path_is_the_users_home(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_env(**{name: "~/bot/file"})
    assert plain(load_settings(), name) == tmp_path / "bot" / "file"


def test_without_a_home_folder_the_users_data_folder_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert load_settings().toolbridge_home.name == "toolbridge"
