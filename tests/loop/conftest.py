import os
import tempfile
import uuid
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def memory():
    """A folder in memory where the system offers one: a killed process loses nothing there, and syncing is free."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def folder(memory):
    """A folder of this test only."""
    path = memory / uuid.uuid4().hex
    path.mkdir()
    return path


@pytest.fixture
def postgres_url():
    """A schema of this test only, in the server that ARCHSMITH_TEST_POSTGRES names."""
    server = os.environ.get("ARCHSMITH_TEST_POSTGRES")
    if not server:
        pytest.skip("ARCHSMITH_TEST_POSTGRES is not set")
    from sqlalchemy import create_engine, make_url, text

    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    yield f"{server}?options=-csearch_path%3D{name}"
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()
