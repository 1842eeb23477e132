"""deploy/kubernetes; its schema is checked by kubernetes-validate, see docs/deploy.md."""

from __future__ import annotations

from typing import Any

import pytest

from bot.rights.current import load_policy
from bot.settings import Settings
from tests.image.dockerfile import read
from tests.unit.deploy.files import DEPLOY, OURS, VERSION, misspelt, read_yaml
from tests.unit.deploy.test_image import GRACE_S

FOLDER = DEPLOY / "kubernetes"
KUSTOMIZATION = read_yaml("kubernetes/kustomization.yaml")
IMAGE = read()[-1]


def manifest(name: str) -> Any:
    return read_yaml(f"kubernetes/{name}.yaml")


SPEC = manifest("deployment")["spec"]
POD = SPEC["template"]["spec"]
(BOT,) = POD["containers"]


def test_the_kustomization_names_every_manifest_and_nothing_that_is_not_there() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert all((FOLDER / name).is_file() for name in generated["files"])


def test_the_image_has_the_version_of_the_package() -> None:
    (image,) = KUSTOMIZATION["images"]
    assert (image["name"], image["newTag"]) == (BOT["image"], VERSION)


@pytest.mark.parametrize("name", ["service", "disruption-budget", "network-policy"])
def test_what_selects_pods_selects_the_deployments(name: str) -> None:
    spec = manifest(name)["spec"]
    selector = spec.get("podSelector", spec.get("selector", {}))
    wanted = selector.get("matchLabels", selector)
    assert wanted and wanted.items() <= SPEC["template"]["metadata"]["labels"].items()


def test_the_deployment_selects_its_own_pods() -> None:
    assert SPEC["selector"]["matchLabels"] == SPEC["template"]["metadata"]["labels"]
    (spread,) = POD["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == SPEC["template"]["metadata"]["labels"]


def test_an_upgrade_and_a_drained_node_leave_a_process_that_serves() -> None:
    assert SPEC["replicas"] == 2
    assert SPEC["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = manifest("disruption-budget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


def test_a_pod_gets_the_time_that_the_bot_needs_to_hand_over() -> None:
    pause_s = int(BOT["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] == GRACE_S
    assert pause_s + Settings.model_fields["drain_s"].default + 10 < GRACE_S


def test_the_probes_ask_what_health_answers_and_wait_for_an_answer() -> None:
    asked = {probe: BOT[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {"http"}
    assert [get["path"] for get in asked.values()] == ["/healthz", "/healthz", "/readyz"]
    assert all(BOT[probe]["timeoutSeconds"] >= 5 for probe in asked)


def test_the_ports_are_the_images() -> None:
    (port,) = BOT["ports"]
    assert port == {"name": "http", "containerPort": int(IMAGE.last("EXPOSE").text)}
    assert [each["targetPort"] for each in manifest("service")["spec"]["ports"]] == ["http"]
    (rule,) = manifest("network-policy")["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == ["http"]


def test_a_pod_keeps_to_the_restricted_standard_that_the_namespace_enforces() -> None:
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/
    assert manifest("namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert (
        POD["securityContext"]["runAsNonRoot"] and POD["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    )
    assert BOT["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_it_runs_as_the_images_user() -> None:
    user = f"{POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}"
    assert user == IMAGE.last("USER").text


def test_what_the_bot_writes_to_is_a_volume_and_every_volume_is_used() -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in BOT["volumeMounts"]}
    assert {mounts["data"], mounts["tmp"]} == {*IMAGE.last("VOLUME").words, "/tmp"}
    assert mounts.keys() == {volume["name"] for volume in POD["volumes"]}


def test_kubernetes_adds_no_variables_of_its_own() -> None:
    # TOOLBRIDGE_PORT=tcp://..., for a Service of that name, is a misspelt setting:
    # https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    assert misspelt(["TOOLBRIDGE_PORT", "TOOLBRIDGE_SERVICE_HOST"]) != []
    assert POD["enableServiceLinks"] is False


def test_its_environment_and_the_secret_are_made_of_settings() -> None:
    names = [entry["name"] for entry in BOT["env"]]
    secret = manifest("secret.example")
    assert misspelt([*names, *secret["stringData"]]) == []
    assert set(names) <= OURS
    (source,) = BOT["envFrom"]
    assert source["secretRef"]["name"] == secret["metadata"]["name"]
    assert secret["metadata"]["namespace"] == KUSTOMIZATION["namespace"] == manifest("namespace")["metadata"]["name"]


def test_the_secret_as_it_is_shown_is_accepted_and_shares_a_database() -> None:
    given = {name.lower(): value for name, value in manifest("secret.example")["stringData"].items() if value}
    assert Settings(_env_file=None, **given).is_shared


def test_the_files_of_the_config_are_where_the_settings_look_for_them() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    keys = {name.rpartition("/")[2] for name in generated["files"]}
    (mount,) = [mount["mountPath"] for mount in BOT["volumeMounts"] if mount["name"] == "config"]
    values = {entry["name"]: entry.get("value") for entry in BOT["env"]}
    assert {values["TOOLBRIDGE_CONFIG"], values["MCP_CONFIG"]} == {f"{mount}/{key}" for key in keys}
    (config,) = [volume["configMap"]["name"] for volume in POD["volumes"] if "configMap" in volume]
    assert config == generated["name"]


def test_the_config_is_the_one_that_compose_and_azure_start_with() -> None:
    for name in ("toolbridge.toml", "mcp.json"):
        assert (FOLDER / "config" / name).read_bytes() == (DEPLOY / "config" / name).read_bytes()
    assert load_policy(FOLDER / "config" / "toolbridge.toml").warnings == ()


def test_the_service_account_is_the_pods_and_gets_no_token_of_kubernetes() -> None:
    account = manifest("service-account")
    assert account["metadata"]["name"] == POD["serviceAccountName"]
    assert account["automountServiceAccountToken"] is False and POD["automountServiceAccountToken"] is False
