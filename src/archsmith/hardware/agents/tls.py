"""TLS between a search and an agent: the agent signs its own certificate, and the search knows its fingerprint.

There is no certificate authority. The search has the fingerprint from the line that the agent made for its token.
"""

from __future__ import annotations

import datetime
import hmac
import socket
import ssl
from hashlib import sha256
from pathlib import Path
from typing import Any

from archsmith.errors import InvalidOption, UserError, require
from archsmith.files import home_folder, translating
from archsmith.hardware.agents.credentials import Address, write_secret

CERTIFICATE_YEARS = 100
"""How long a certificate is valid. It is pinned, so an earlier end would protect nobody."""


def agent_folder() -> Path:
    """The folder for an agent's key, certificate and the lines to copy to searches; only its owner can read it."""
    folder = home_folder() / "agent"
    with translating(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    return folder


def own_certificate() -> tuple[Path, str]:
    """The key and certificate of agents on this machine, made once, and the certificate's fingerprint.

    Raises:
        MissingExtra: when one must be made and the package for it is not installed.
        UserError: when it cannot be written or read.
    """
    path = agent_folder() / "tls.pem"
    with translating(path):
        if not path.exists():
            write_secret(path, _made())
        text = path.read_text(encoding="ascii", errors="replace")
    try:
        start = text.index("-----BEGIN CERTIFICATE-----")
        return path, sha256(ssl.PEM_cert_to_DER_cert(text[start:])).hexdigest()
    except ValueError as error:
        raise UserError(f"{path} is no certificate; delete it and another one is made, with another line") from error


def serving(path: Path) -> ssl.SSLContext:
    """The TLS settings of an agent that uses the key and certificate in ``path``.

    Raises:
        UserError: when key and certificate cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(path, password="")  # without it, OpenSSL would ask for a password
    except (OSError, ValueError) as error:  # the library's own errors are errors of the system
        raise UserError(
            f"{path} cannot be used ({error}); delete it and another one is made, with another line"
        ) from error
    return context


def pinned(connection: socket.socket, pin: str, address: Address) -> ssl.SSLSocket:
    """Encrypt a connection to the agent whose certificate was pinned; nothing is sent to any other.

    Args:
        connection: open, nothing sent yet.
        pin: SHA-256 of the certificate, 64 hexadecimal digits.
        address: for the message.

    Raises:
        InvalidOption: when the other end does not speak TLS, or shows another certificate.
        OSError: when the connection breaks.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the fingerprint is checked below instead
    try:
        secure = context.wrap_socket(connection)
    except ssl.SSLError as error:
        raise InvalidOption(
            f"the server at {address} does not speak TLS ({error.reason or error}), but its token's line names a "
            "certificate; start the agent there with --tls"
        ) from error
    shown = sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
    if not hmac.compare_digest(shown, pin):
        secure.close()
        raise InvalidOption(
            f"the server at {address} shows another certificate (sha256:{shown}) than the one that was pinned "
            f"(sha256:{pin}); nothing was sent. If the agent's certificate was made anew, copy the new line from "
            "there: `archsmith agent --tls` says where it is"
        )
    return secure


def _made() -> str:
    """A new key and a certificate signed with it, as text."""
    purpose = "making a certificate (--tls)"
    x509: Any = require("cryptography.x509", extra="tls", purpose=purpose)
    hashes: Any = require("cryptography.hazmat.primitives.hashes", extra="tls", purpose=purpose)
    kinds: Any = require("cryptography.hazmat.primitives.serialization", extra="tls", purpose=purpose)
    curves: Any = require("cryptography.hazmat.primitives.asymmetric.ec", extra="tls", purpose=purpose)
    key = curves.generate_private_key(curves.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "archsmith agent")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)  # clocks of boards are often slow
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=365 * CERTIFICATE_YEARS))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(kinds.Encoding.PEM, kinds.PrivateFormat.PKCS8, kinds.NoEncryption())
    return str((secret + certificate.public_bytes(kinds.Encoding.PEM)).decode())
