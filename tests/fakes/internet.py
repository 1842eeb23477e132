"""A host of the internet on loopback: a proxy with TLS behind it; programs take both from their environment."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@asynccontextmanager
async def serve_as(host: str, port: int, *, folder: Path) -> AsyncGenerator[Mapping[str, str]]:
    """Be https://HOST with what the port of this machine serves over HTTP; yield the variables that lead there.

    Every other host is refused. A proxy's CONNECT: https://www.rfc-editor.org/rfc/rfc9110#name-connect
    """
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    file = folder / "authority.pem"
    file.write_bytes(_make_certificate(host))
    tls.load_cert_chain(file)

    async def lead_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, port)

    async with await asyncio.start_server(lead_on, "127.0.0.1", 0, ssl=tls) as front:
        behind = front.sockets[0].getsockname()[1]

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(f"CONNECT {host}:443 ".encode()):
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                return
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _join(reader, writer, behind)

        async with await asyncio.start_server(connect, "127.0.0.1", 0) as proxy:
            address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
            yield {"HTTPS_PROXY": address, "NO_PROXY": "127.0.0.1", "SSL_CERT_FILE": str(file)}


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Pass everything on in both directions, until one side ends."""
    theirs, ours = await asyncio.open_connection("127.0.0.1", port)
    passing = [asyncio.create_task(_pass(*pair)) for pair in ((reader, ours), (theirs, writer))]
    await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
    for each in (ours, writer):
        each.close()
    await asyncio.wait(passing)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def _make_certificate(host: str) -> bytes:
    """Return a key with a certificate that vouches for itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret + made.public_bytes(serialization.Encoding.PEM)
