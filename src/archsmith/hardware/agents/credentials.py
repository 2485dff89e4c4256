"""Tokens of agents: each is bound to the address that it is sent to, with how that connection is protected.

A line of the token's file, or of ``ARCHSMITH_AGENT_TOKEN``, is one of

- ``HOST:PORT TOKEN sha256:FINGERPRINT``: to that agent over TLS, if it shows the certificate of that fingerprint;
- ``HOST:PORT TOKEN plain``: to that agent, unencrypted;
- ``HOST:PORT TOKEN``: the same, for an address of this machine only;
- ``TOKEN``: to any agent of this machine.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from archsmith.errors import InvalidOption, UserError
from archsmith.files import home_folder, read_bytes, translating

TOKEN, TOKEN_FILE = "ARCHSMITH_AGENT_TOKEN", "ARCHSMITH_AGENT_TOKEN_FILE"
LARGEST_TOKEN_FILE = 1 << 20
"""Bytes of the largest file of tokens that is read."""
SHORTEST_TOKEN = 8
"""Characters of the shortest token that an agent accepts."""
LINE_FORMS = "`HOST:PORT TOKEN sha256:FINGERPRINT`, `HOST:PORT TOKEN plain`, `HOST:PORT TOKEN` or `TOKEN`"


@dataclass(frozen=True)
class Address:
    """Where an agent listens, in canonical form: equal addresses compare equal.

    Args:
        host: a name in lower case, or an IP address in its shortest form; without brackets.
        port: from 1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def read(cls, text: str) -> Address:
        """The address ``HOST:PORT`` or ``[V6]:PORT``.

        Raises:
            InvalidOption: when it is none.
        """
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9_][A-Za-z0-9._-]*)):([0-9]{1,5})", text)
        if match is None or not 0 < int(match[3]) < 65536 or len(match[2] or "") > 253:
            raise InvalidOption(f"cannot read the agent's address {text!r}; write remote:HOST:PORT")
        host = (match[1] or match[2]).lower()
        found = _ip(host)
        if found is None and match[1] is not None:
            raise InvalidOption(f"cannot read the agent's address {text!r}: {host} is no IPv6 address")
        return cls(host if found is None else str(found), int(match[3]))

    @property
    def is_here(self) -> bool:
        """Whether it is this machine, so that nothing sent there leaves it."""
        found = _ip(self.host)
        return self.host == "localhost" if found is None else found.is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Credential:
    """The token for an agent, and how the connection is protected.

    Args:
        token: empty where none is known; then only agents of this machine are asked.
        pin: SHA-256 of the certificate that it must show, in hexadecimal digits; empty without TLS.
        plain: whether the token may go to another machine unencrypted.
    """

    token: str = field(default="", repr=False)
    pin: str = ""
    plain: bool = False


def token_path() -> Path:
    """The file that holds tokens unless ``ARCHSMITH_AGENT_TOKEN`` does."""
    return Path(os.environ.get(TOKEN_FILE) or home_folder() / "agent.token")


def credential_for(address: Address) -> Credential:
    """The credential that may be sent to ``address``; the environment variable comes before the file.

    Raises:
        InvalidOption: when there is none, or the lines cannot be read; the message never contains a token.
    """
    unbound = ""
    for where, lines in _sources():
        for bound, credential in lines:
            if bound == address:
                return _protected(address, credential, where)
        if any(bound is None for bound, _ in lines):
            if address.is_here:
                return next(credential for bound, credential in lines if bound is None)
            unbound = unbound or where
    if address.is_here:
        return Credential()
    line = f"`{address} TOKEN sha256:FINGERPRINT`"
    if unbound:
        raise InvalidOption(
            f"the token in {unbound} is bound to no address and is sent to agents of this machine only, not to "
            f"{address}; bind it: write {line}, a line that `archsmith agent --tls` makes there, or `{address} TOKEN "
            "plain` where it may go unencrypted"
        )
    raise InvalidOption(
        f"no token is known for the agent at {address}: `archsmith agent --tls` there makes the line {line}; put it "
        f"into {token_path()} or {TOKEN}"
    )


def own_token(path: Path | None = None) -> tuple[str, str]:
    """The token that an agent started here requires, and where it is kept; it is made where there is none.

    Args:
        path: of the file; else ``ARCHSMITH_AGENT_TOKEN``, else the file of :func:`token_path`.

    Raises:
        UserError: when the file cannot be written, or does not hold one token that is bound to no address.
    """
    if path is None and (given := [c.token for bound, c in _variable() if bound is None]):
        return _only(given, TOKEN), TOKEN
    path = path or token_path()
    with translating(path):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_secret(path, f"{secrets.token_urlsafe(24)}\n")
    return _only([c.token for bound, c in _parsed(_content(path), str(path)) if bound is None], str(path)), str(path)


def _only(tokens: list[str], where: str) -> str:
    if len(tokens) != 1:
        raise UserError(
            f"{where} should hold one line with the agent's own token alone, and holds {len(tokens)} such lines; "
            "correct it, or give another --token-file: one is made where there is none"
        )
    return tokens[0]


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
    temporary.replace(path)


def _protected(address: Address, credential: Credential, where: str) -> Credential:
    """The credential, if it may be sent to ``address``.

    Raises:
        InvalidOption: when it would go to another machine unencrypted without ``plain``.
    """
    if not (address.is_here or credential.pin or credential.plain):
        raise InvalidOption(
            f"the token for {address} in {where} would go to another machine unencrypted, so that others can read "
            f"it; start the agent with --tls and use the line that it makes (`{address} TOKEN sha256:FINGERPRINT`), "
            f"or write `plain` at the end of this one"
        )
    return credential


def _sources() -> Iterator[tuple[str, list[tuple[Address | None, Credential]]]]:
    yield TOKEN, _variable()
    path = token_path()
    if path.exists():
        yield str(path), _parsed(_content(path), str(path))


def _variable() -> list[tuple[Address | None, Credential]]:
    return _parsed(os.environ.get(TOKEN, "").replace(",", "\n"), TOKEN)


def _content(path: Path) -> str:
    try:
        return read_bytes(path, most=LARGEST_TOKEN_FILE).decode("utf-8")
    except (OSError, ValueError) as error:
        # A message of the decoder would show bytes of the file.
        reason = "it is no text" if isinstance(error, UnicodeDecodeError) else error
        raise InvalidOption(f"the tokens of agents cannot be read from {path}: {reason}") from None


def _parsed(text: str, where: str) -> list[tuple[Address | None, Credential]]:
    found: list[tuple[Address | None, Credential]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not (words := line.split()) or words[0].startswith("#"):
            continue
        try:
            address, credential = _line(words)
        except ValueError as error:
            raise InvalidOption(f"line {number} of {where} cannot be read: {error}; a line is {LINE_FORMS}") from None
        if address is not None and any(bound == address for bound, _ in found):
            raise InvalidOption(f"{where} has two lines for the agent at {address}; delete the one that is out of date")
        found.append((address, credential))
    return found


def _line(words: list[str]) -> tuple[Address | None, Credential]:
    if len(words) > 3:
        raise ValueError("it has more than three words")
    address = None
    if len(words) > 1 or re.fullmatch(r".+:[0-9]+", words[0]):
        try:
            address = Address.read(words.pop(0))
        except InvalidOption:
            raise ValueError("its first word is no HOST:PORT") from None  # it may be a token
    if not words or not re.fullmatch(r"[!-~]+", words[0]):
        raise ValueError("there is no token of visible ASCII characters in it")
    token, how = words[0], words[1] if len(words) == 2 else ""
    if how in ("", "plain"):
        return address, Credential(token, plain=how == "plain")
    pin = how.lower().removeprefix("sha256:").replace(":", "")
    if not how.lower().startswith("sha256:") or not re.fullmatch(r"[0-9a-f]{64}", pin):
        raise ValueError("it ends neither in `plain` nor in `sha256:` and 64 hexadecimal digits")
    return address, Credential(token, pin=pin)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
