import logging

import pytest

from config.security_log import SecurityFileHandler


@pytest.fixture
def security_log(tmp_path, monkeypatch):
    """Return a function that reads the lines of the security log of this test."""
    path = tmp_path / "logs" / "security.log"
    for handler in logging.getLogger("security").handlers:
        if isinstance(handler, SecurityFileHandler):
            monkeypatch.setattr(handler, "path", path)
    return lambda: path.read_text().splitlines() if path.exists() else []
