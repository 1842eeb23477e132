"""deploy/compose.yaml; its schema is checked by dclint, see docs/deploy.md."""

from __future__ import annotations

import re

import pytest
from cryptography.fernet import Fernet

from bot.rights.current import load_policy
from bot.settings import Settings, load_settings
from bot.tools.configured import load_servers
from tests.image.dockerfile import read
from tests.unit.deploy.files import DEPLOY, GUIDE, VERSION, misspelt, read_yaml
from tests.unit.deploy.test_image import GRACE_S

COMPOSE = read_yaml("compose.yaml")
SERVICES = COMPOSE["services"]
BOT = SERVICES["bot"]
_EXACT = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-\w+)?")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_an_exact_version(name: str) -> None:
    assert _EXACT.fullmatch(SERVICES[name]["image"])


def test_the_bots_image_is_built_from_the_dockerfile_in_the_version_of_the_package() -> None:
    assert BOT["image"] == f"toolbridge:{VERSION}"
    build = BOT["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")


def test_the_bot_runs_on_a_read_only_root_without_capabilities() -> None:
    assert BOT["read_only"] and BOT["tmpfs"] == ["/tmp"] and BOT["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in BOT["security_opt"]
    assert f"bot:{read()[-1].last('VOLUME').words[0]}" in BOT["volumes"]


def test_the_bot_gets_the_time_that_it_needs_to_hand_over() -> None:
    assert (BOT["stop_signal"], BOT["stop_grace_period"]) == ("SIGTERM", f"{GRACE_S}s")


def test_the_bots_environment_is_made_of_valid_settings() -> None:
    environment = {name: re.sub(r"\$\{\w+:\?[^}]*\}", "x" * 8, value) for name, value in BOT["environment"].items()}
    assert misspelt(environment) == []
    ours = {name.lower(): value for name, value in environment.items() if name.lower() in Settings.model_fields}
    settings = Settings(_env_file=None, **ours)
    assert settings.is_shared
    assert settings.http_port == int(read()[-1].last("EXPOSE").text)


def test_the_rules_and_tool_servers_that_it_starts_with_are_valid() -> None:
    assert load_policy(DEPLOY / "config" / "toolbridge.toml").warnings == ()
    assert "./config:/etc/toolbridge:ro" in BOT["volumes"]
    assert [server.name for server in load_servers(Settings(_env_file=None, mcp_config=DEPLOY / "config" / "mcp.json"))]


def test_what_is_mounted_and_started_first_is_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            named = source in COMPOSE["volumes"]
            assert named or (DEPLOY / source).exists(), (name, source)
        assert set(service.get("depends_on", [])) <= set(SERVICES)
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_a_service_with_a_secret_from_the_environment_can_be_written() -> None:
    # Compose copies such a secret into the container: https://github.com/docker/compose/issues/12303
    assert not [name for name, service in SERVICES.items() if service.get("secrets") and service.get("read_only")]


def test_up_replaces_a_container_whose_secret_has_changed() -> None:
    # Compose compares the service, not what its secrets hold; its environment is part of the service.
    for service in SERVICES.values():
        held = {COMPOSE["secrets"][secret]["environment"] for secret in service.get("secrets", [])}
        assert held <= set(service.get("environment", {}))


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_the_guide_makes_every_value_that_has_no_default() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert {"POSTGRES_PASSWORD", "METRICS_TOKEN", "GRAFANA_PASSWORD", "TOOLBRIDGE_SECRET_KEY"} == needed
    guide = GUIDE.read_text(encoding="utf-8")
    assert [name for name in needed if f"{name}=" not in guide] == []


def test_what_others_read_in_the_same_env_file_is_no_misspelt_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")):
        monkeypatch.setenv(name, Fernet.generate_key().decode())
    for name, value in BOT["environment"].items():
        if value and not value.startswith("$"):
            monkeypatch.setenv(name, value)
    assert load_settings(env_file=None).is_shared


def test_the_bot_gets_no_secret_of_others_along_with_its_env_file() -> None:
    assert [name for name, service in SERVICES.items() if "env_file" in service] == ["bot"]
    secrets = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    # What stands in `environment` wins over env_file:
    # https://docs.docker.com/compose/how-tos/environment-variables/envvars-precedence/
    given = BOT["environment"]
    emptied = {name for name in secrets if given.get(name) == ""}
    own = {name for name in secrets if given.get(name, "").startswith(f"${{{name}:?")}
    assert (own, emptied) == ({"METRICS_TOKEN", "TOOLBRIDGE_SECRET_KEY"}, {"GRAFANA_PASSWORD", "POSTGRES_PASSWORD"})
    assert own | emptied == secrets


def test_prometheus_scrapes_the_bot_where_it_listens_and_reads_the_token_that_it_is_given() -> None:
    (job,) = read_yaml("prometheus/prometheus.yml")["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["bot"] and str(found["port"]) == BOT["environment"]["HTTP_PORT"]
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert COMPOSE["secrets"][secret]["environment"] in BOT["environment"]


def test_the_collector_takes_traces_where_the_bot_sends_them() -> None:
    collector = read_yaml("otel/collector.yaml")
    port = BOT["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"].rpartition(":")[2]
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(f":{port}")
    for pipeline in collector["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(collector[kind])
