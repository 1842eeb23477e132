"""deploy/azure. No Bicep compiler is at hand: names, references and versions are what these tests check."""

from __future__ import annotations

import re
import shlex

import pytest

from bot.settings import Settings
from tests.image.dockerfile import read as read_dockerfile
from tests.unit.deploy.bicep import read
from tests.unit.deploy.files import DEPLOY, GUIDE, OURS, ROOT, VERSION, misspelt
from tests.unit.deploy.test_image import GRACE_S

FILES = {path.stem: read(path) for path in (DEPLOY / "azure").glob("*.bicep")}
APPS = ("container-apps", "container-instances")
# Versions of https://github.com/Azure/bicep-types-az that are no previews, and have every property that the files set.
VERSIONS = {
    "Microsoft.App/containerApps": "2025-07-01",
    "Microsoft.App/managedEnvironments": "2025-07-01",
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.CognitiveServices/accounts": "2025-06-01",
    "Microsoft.ContainerInstance/containerGroups": "2025-09-01",
    "Microsoft.ContainerRegistry/registries": "2025-04-01",
    "Microsoft.DBforPostgreSQL/flexibleServers": "2025-08-01",
    "Microsoft.DBforPostgreSQL/flexibleServers/administrators": "2025-08-01",
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules": "2025-08-01",
    "Microsoft.KeyVault/vaults": "2024-11-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.OperationalInsights/workspaces": "2025-02-01",
}
# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "openAiUser": "5e0bd9bd-7b93-4f28-af87-19fc36ad61bd",
    "secretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
    "secretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "acrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
}


@pytest.mark.parametrize("name", FILES)
def test_every_name_that_a_file_uses_is_declared_in_it(name: str) -> None:
    assert FILES[name].unknown() == []


def test_the_reader_of_names_finds_one_that_is_missing() -> None:
    file = FILES["openai-role"]
    wrong = type(file)(file.path, file.text.replace("param account string\n", ""))
    assert wrong.unknown() == ["account"]
    assert type(file)(file.path, "var a = 'x ${missing} \\${none}'\n").unknown() == ["missing"]


@pytest.mark.parametrize("name", FILES)
def test_resources_are_of_the_versions_that_were_read(name: str) -> None:
    for kind, _ in FILES[name].resources.values():
        resource, _, version = kind.partition("@")
        assert VERSIONS[resource] == version


def test_roles_are_the_built_in_ones() -> None:
    found = {
        var: role
        for file in FILES.values()
        for var, role in re.findall(
            r"^var (\w+) = subscriptionResourceId\('[\w./]+', '([\w-]+)'\)", file.text, re.MULTILINE
        )
    }
    assert found == ROLES


def test_the_identity_may_call_the_model_and_read_secrets_and_nobody_signs_in_with_a_password() -> None:
    assert "roleDefinitionId: openAiUser" in FILES["openai-role"].text
    foundation = FILES["foundation"].text
    for role in ("secretsUser", "acrPull"):
        assert re.search(
            rf"principalId: identity\.properties\.principalId\n.*\n\s+roleDefinitionId: {role}\n", foundation
        )
    assert "activeDirectoryAuth: 'Enabled'" in foundation and "passwordAuth: 'Disabled'" in foundation
    assert "adminUserEnabled: false" in foundation and "enableRbacAuthorization: true" in foundation


def test_a_module_is_given_exactly_its_parameters() -> None:
    (body,) = re.findall(
        r"module \w+ 'openai-role\.bicep' = \{.*?params: \{(.*?)\}", FILES["foundation"].text, re.DOTALL
    )
    assert set(re.findall(r"(\w+):", body)) == set(FILES["openai-role"].parameters)


@pytest.mark.parametrize("name", APPS)
def test_what_another_file_makes_has_the_same_name_and_version_there(name: str) -> None:
    made = {FILES["foundation"].named(symbol): kind for symbol, (kind, _) in FILES["foundation"].resources.items()}
    existing = {symbol: kind for symbol, (kind, is_elsewhere) in FILES[name].resources.items() if is_elsewhere}
    assert existing
    for symbol, kind in existing.items():
        assert made[FILES[name].named(symbol)] == kind
    vault = FILES["foundation"].named("vault").strip("'")
    assert f"'https://{vault}${{az.environment().suffixes.keyvaultDns}}/secrets'" in FILES[name].text
    unique = re.search(r"^var unique = .*$", FILES["foundation"].text, re.MULTILINE)
    assert unique and unique[0] in FILES[name].text


@pytest.mark.parametrize("name", APPS)
def test_the_bots_environment_is_made_of_settings(name: str) -> None:
    text = FILES[name].text
    (plain,) = re.findall(r"^var plain = union\(\n  \{\n(.*?)\n  \},", text, re.MULTILINE | re.DOTALL)
    names = re.findall(r"^\s+([A-Z_]+):", plain, re.MULTILINE) + re.findall(r"name: '([A-Z_]+)'", text)
    (secrets,) = re.findall(r"^param secretNames array = \[(.*)\]", text, re.MULTILINE)
    names += [secret.strip(" '").replace("-", "_").upper() for secret in secrets.split(",")]
    assert misspelt(names) == []
    assert set(names) - OURS == {"AZURE_CLIENT_ID"}  # which azure-identity reads
    assert {"DATABASE_URL", "DATABASE_AUTH", "TOOLBRIDGE_SECRET_KEY"} <= set(names)


@pytest.mark.parametrize("name", APPS)
def test_the_database_is_reached_encrypted_and_by_the_identitys_name(name: str) -> None:
    (url,) = re.findall(r"'(postgresql://[^']+)'", FILES[name].text)
    url = url.replace("${identity.name}", "toolbridge-identity")
    url = url.replace("${server.properties.fullyQualifiedDomainName}", "x.postgres.database.azure.com")
    settings = Settings(_env_file=None, database_url=url, database_auth="entra")
    assert settings.is_shared and "sslmode=verify-full" in url


@pytest.mark.parametrize("name", APPS)
def test_the_probes_ask_the_port_of_the_image(name: str) -> None:
    port = read_dockerfile()[-1].last("EXPOSE").text
    assert set(re.findall(r"port: (\d+)|targetPort: (\d+)", FILES[name].text)) <= {(port, ""), ("", port)}
    assert "'/healthz'" in FILES[name].text


def test_the_image_has_the_version_of_the_package() -> None:
    assert all(f"param image string = 'toolbridge:{VERSION}'" in FILES[name].text for name in APPS)


def test_container_apps_keep_two_processes_and_give_them_time_to_hand_over() -> None:
    text = FILES["container-apps"].text
    assert f"terminationGracePeriodSeconds: {GRACE_S}" in text and "param replicas int = 2" in text
    assert "minReplicas: replicas" in text and "'/readyz'" in text


def test_the_commands_of_the_guide_give_the_parameters_that_have_no_default() -> None:
    commands = re.findall(r"^az deployment group create .*", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"foundation", "container-apps"} <= {_template(command) for command in commands}
    for command in commands:
        words = shlex.split(re.sub(r'"\$\([^)]*\)"', "value", command))
        given = {word.partition("=")[0] for word in words[words.index("-p") + 1 :] if "=" in word}
        parameters = FILES[_template(command)].parameters
        assert {name for name, is_needed in parameters.items() if is_needed} <= given <= set(parameters)


def test_the_commands_of_the_guide_read_outputs_that_there_are() -> None:
    read_there = set(re.findall(r"\$\(out (\w+)\)", GUIDE.read_text(encoding="utf-8")))
    assert read_there and read_there <= set(FILES["foundation"].outputs)


def test_the_readme_shows_the_same_ten_commands() -> None:
    shown, explained = (
        re.findall(r"^<!-- azure -->\n```bash\n(.*?)^```", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for file in (ROOT / "README.md", GUIDE)
    )
    assert shown == explained
    assert shown[0].count("\n") == 10


def _template(command: str) -> str:
    return re.search(r"-f deploy/azure/([\w-]+)\.bicep", command)[1]  # type: ignore[index]
