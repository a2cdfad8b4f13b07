import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from environs import ValidationError

from config import environment
from config.environment import Env, parse_cache_url

ROOT = Path(__file__).parent.parent


def manage(*arguments, **environment):
    """Run manage.py with these variables; the result has `returncode` and `stderr`."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_all_wrong_variables_are_reported_at_once_without_a_traceback():
    result = manage(
        "check",
        SECRET_KEY="# none",
        DEBUG="perhaps",
        DATABASE_URL="nonsense",
        CACHE_URL="nonsense",
        LOG_LEVEL="LOUD",
        CSRF_TRUSTED_ORIGINS="example.com",
        ENVIRONMENT="a b",
    )
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    for name in (
        "SECRET_KEY",
        "DEBUG",
        "DATABASE_URL",
        "CACHE_URL",
        "LOG_LEVEL",
        "CSRF_TRUSTED_ORIGINS",
        "ENVIRONMENT",
    ):
        assert f"{name}: " in result.stderr


def test_production_settings_pass_the_deployment_checks():
    result = manage(
        "check",
        "--deploy",
        "--fail-level=WARNING",
        SECRET_KEY="Correct-Horse-Battery-Staple-0123456789-abcdefghijklmnop",
        DEBUG="",
        ALLOWED_HOSTS="example.com",
        ENVIRONMENT="production",
    )
    assert result.returncode == 0, result.stderr


def test_no_migration_is_missing():
    result = manage("makemigrations", "--check", "--dry-run")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=0.1", "0.1"),
        ("NAME=0.1    # a comment", "0.1"),
        ("NAME='a b # c'", "a b # c"),
        ("NAME=", "unset"),
        ("NAME=  # a comment", "unset"),
        ("# NAME=0.1", "unset"),
    ],
)
def test_dotenv_file_is_read_as_a_shell_reads_it(tmp_path, monkeypatch, line, value):
    monkeypatch.delenv("NAME", raising=False)
    (tmp_path / ".env").write_text(f"{line}\n")
    assert Env(tmp_path / ".env").str("NAME", default="unset") == value


def test_real_environment_wins_over_the_dotenv_file(tmp_path, monkeypatch):
    monkeypatch.setenv("NAME", "")
    (tmp_path / ".env").write_text("NAME=from the file\n")
    assert Env(tmp_path / ".env").str("NAME", default="unset") == "unset"


def test_missing_variable_is_reported_by_name(tmp_path):
    env = Env(tmp_path / ".env")
    env.str("ONE_THAT_IS_NOT_SET")
    with pytest.raises(ImproperlyConfigured, match="ONE_THAT_IS_NOT_SET"):
        env.seal()


def test_cache_url_keeps_user_and_password(monkeypatch):
    monkeypatch.setattr(environment, "find_spec", lambda name: name)
    url = "rediss://user:p%40ss@cache.example:6380/1"
    assert parse_cache_url(url)["LOCATION"] == url
    with pytest.raises(ValidationError):
        parse_cache_url("memcached://localhost")


def test_cache_url_of_redis_asks_for_its_package(monkeypatch):
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match="Install the package redis"):
        parse_cache_url("redis://localhost:6379/0")


def test_requirements_txt_and_pyproject_toml_agree():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements == pyproject["project"]["dependencies"]
