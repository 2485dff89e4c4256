"""Connecting to a PostgreSQL server."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from archsmith import trust
from archsmith.errors import InvalidOption, require

BUSY_S = 60.0
"""How long a lock is waited for, and how long a session may sleep in a transaction before the server ends it."""
_CONNECTION: dict[str, Any] = {
    "connect_timeout": 10,
    "application_name": "archsmith",
    "require_auth": "scram-sha-256,none",  # a password is never sent in a form that can be read or replayed
    "keepalives_idle": 30,  # seconds; a server that is cut off is noticed within a minute
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def open_server(where: str, *, writable: bool) -> tuple[Engine, str]:
    """An engine on a server, and its name in errors.

    Settings in the URL come before archsmith's own.

    Args:
        where: a URL.
        writable: whether the store may be written; otherwise the server refuses to.

    Raises:
        InvalidOption: for a URL that cannot be read or is of another database.
        Untrusted: when somebody else's file names it.
        MissingExtra: without the driver.
    """
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise InvalidOption(f"cannot read the store's URL: {error}") from error
    if url.get_backend_name() != "postgresql":
        raise InvalidOption(
            f"{url.get_backend_name()}:// is no kind of store; give a path (SQLite) or postgresql://USER@HOST/DATABASE"
        )
    label = url.render_as_string(hide_password=True)
    trust.refuse(f"connect to {label}")
    require("psycopg", extra="postgres", purpose="a store in PostgreSQL")
    options = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    options["options"] = _session(url, writable=writable)
    engine = create_engine(url.set(drivername="postgresql+psycopg"), connect_args=options, pool_pre_ping=True)
    return engine, label


def _session(url: URL, *, writable: bool) -> str:
    """Settings of a session; those of the URL come last and override ours."""
    limit = round(1000 * BUSY_S)
    ours = {"lock_timeout": limit, "idle_in_transaction_session_timeout": limit}
    if not writable:
        ours["default_transaction_read_only"] = 1
    theirs = url.query.get("options", "")
    theirs = theirs if isinstance(theirs, str) else " ".join(theirs)
    return " ".join([*(f"-c {name}={value}" for name, value in ours.items()), theirs]).strip()
