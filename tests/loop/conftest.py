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
