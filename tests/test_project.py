"""How a generated project behaves among real servers, shells and people."""

import json
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor

import pexpect
import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.servers.postgres import Postgres
from tests.servers.process import Process, free_port
from tests.servers.valkey import Valkey
from tests.test_monitoring import Browser


@pytest.fixture
def serve(python_for, environment):
    """Return a function that migrates a project and serves it with gunicorn."""

    def serve(project, **variables):
        python = python_for(project)
        env = environment | variables
        migrate = [python, "manage.py", "migrate", "-v0"]
        subprocess.run(migrate, cwd=project, env=env, check=True)
        port = free_port()
        address = f"127.0.0.1:{port}"
        return Process(
            [python.parent / "gunicorn", "--bind", address, "config.wsgi"],
            cwd=project,
            env=env,
            ready_url=f"http://{address}/healthz/",
        )

    return serve


def test_readyz_names_the_server_that_is_down_until_it_is_back(render, serve, tmp_path):
    project = render(
        tmp_path / "site", database="postgresql", cache="redis", use_sentry=False
    )
    with Postgres() as postgres, Valkey() as valkey:
        urls = {"DATABASE_URL": postgres.create_database(), "CACHE_URL": valkey.url()}
        with serve(project, **urls) as site:

            def ready():
                status, body = Browser(site.url).get("/readyz/")
                return status, json.loads(body)

            everything = {"status": "ok", "database": "ok", "cache": "ok"}
            assert ready() == (200, everything)
            for name, server in (("database", postgres), ("cache", valkey)):
                server.stop()
                unavailable = everything | {"status": "unavailable", name: "down"}
                assert ready() == (503, unavailable)
                assert Browser(site.url).get("/healthz/")[0] == 200
                server.start()
                assert ready() == (200, everything)


def test_production_redirects_to_https_and_refuses_unknown_hosts(
    render, serve, tmp_path
):
    project = render(tmp_path / "site", environment="production", domain="shop.example")
    with serve(project) as site:
        host = {"Host": "shop.example"}
        assert "https" not in site.output()
        redirect = subprocess.run(
            ["curl", "-si", "-H", "Host: shop.example", f"{site.url}/admin/"],
            capture_output=True,
            text=True,
        ).stdout
        assert redirect.startswith("HTTP/1.1 301")
        assert "Location: https://shop.example/admin/" in redirect
        secure = host | {"X-Forwarded-Proto": "https"}
        assert (
            Browser(site.url).get("/admin/login/", secure)[0] == 500
        )  # no static files
        assert Browser(site.url).get("/", {"Host": "evil.example"})[0] == 400
        assert Browser(site.url).get("/readyz/", {"Host": "10.0.0.1"})[0] == 200
        # So that a forgotten host is seen where one looks first.
        assert "You may need to add 'evil.example' to ALLOWED_HOSTS" in site.output()
    log = (project / "logs" / "security.log").read_text()
    assert log.count("django.security.DisallowedHost") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["manage.py", "check"],
        ["-m", "gunicorn", "config.wsgi"],
        ["-m", "uvicorn", "config.asgi:application"],
    ],
    ids=["manage.py", "gunicorn", "uvicorn"],
)
def test_wrong_variables_end_each_program_with_a_line_for_each(
    render, python_for, environment, tmp_path, command
):
    project = render(tmp_path / "site", use_sentry=False)
    (project / ".env").write_text("DEBUG=perhaps\nLOG_LEVEL=LOUD\nALLOWED_HOSTS=a\n")
    result = subprocess.run(
        [python_for(project, "uvicorn"), *command],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    lines = result.stderr.splitlines()
    assert lines[0].endswith(
        ": Set these environment variables right, in .env or outside:"
    )
    assert lines[1:] == [
        "  SECRET_KEY: Environment variable not set. Give it a value: .env.example "
        "explains it.",
        "  DEBUG: Not a valid boolean. Write true or false.",
        "  LOG_LEVEL: Not a valid log level. Write DEBUG, INFO, WARNING or ERROR.",
    ]


def test_a_site_without_hosts_does_not_start(render, python_for, environment, tmp_path):
    project = render(tmp_path / "site", use_sentry=False)
    check = [python_for(project), "manage.py", "check"]
    hosts = environment | {"DEBUG": "false", "ALLOWED_HOSTS": ""}
    result = subprocess.run(
        check, cwd=project, env=hosts, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "ALLOWED_HOSTS: Environment variable not set." in result.stderr


def test_a_database_that_does_not_answer_is_one_sentence(
    render, python_for, environment, tmp_path
):
    project = render(tmp_path / "site", database="postgresql", use_sentry=False)
    url = f"postgres://a:hunter2@127.0.0.1:{free_port()}/c"
    terminal = pexpect.spawn(
        str(python_for(project)),
        ["manage.py", "migrate"],
        cwd=project,
        env=environment | {"DATABASE_URL": url},
        encoding="utf-8",
        dimensions=(24, 500),
    )
    terminal.expect(pexpect.EOF, timeout=60)
    terminal.close()
    assert terminal.exitstatus == 1
    sentence = "manage.py: The database of DATABASE_URL does not answer: "
    assert terminal.before.startswith(sentence)
    assert "Traceback" not in terminal.before
    assert "hunter2" not in terminal.before


def test_project_without_the_sdk_runs_as_long_as_there_is_no_dsn(
    render, serve, python_for, environment, tmp_path
):
    project = render(tmp_path / "site")
    for name in ("requirements.txt", "pyproject.toml"):
        text = (project / name).read_text()
        kept = [line for line in text.splitlines() if "sentry-sdk" not in line]
        (project / name).write_text("\n".join(kept) + "\n")
    with serve(project) as site:
        for path in ("/", "/admin/login/"):
            assert Browser(site.url).get(path)[0] == 200
    dsn = environment | {"SENTRY_DSN": "https://public@sentry.example/1"}
    check = [python_for(project), "manage.py", "check"]
    result = subprocess.run(check, cwd=project, env=dsn, capture_output=True, text=True)
    assert "monitoring.E004" in result.stderr
    assert "Traceback" not in result.stderr


def test_processes_that_log_at_once_do_not_garble_each_others_lines(
    render, python_for, environment, tmp_path
):
    project = render(tmp_path / "site", use_sentry=False)
    code = (
        "import logging, os\n"
        "for number in range(300):\n"
        "    logging.getLogger('security').warning('%s', f'{os.getpid()}' * 40)\n"
    )
    command = [python_for(project), "manage.py", "shell", "-v0", "-c", code]

    def log(_):
        subprocess.run(command, cwd=project, env=environment, check=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(log, range(4)))
    lines = (project / "logs" / "security.log").read_text().splitlines()
    assert len(lines) == 1200
    for line in lines:
        assert re.fullmatch(r"\S+ WARNING security: (\d+?)\1{39}", line)


def test_app_and_shell_read_the_same_values_from_dotenv(
    render, python_for, environment, tmp_path
):
    project = render(tmp_path / "site", database="postgresql", cache="redis")
    with (project / ".env").open("a") as file:
        file.write(
            "SENTRY_TRACES_SAMPLE_RATE=0.25    # a quarter\n"
            "LOG_LEVEL=  # the default\n"
            "GIT_COMMIT='a $b # c'\n"
        )
    names = ["SECRET_KEY", "GIT_COMMIT", "SENTRY_TRACES_SAMPLE_RATE", "ENVIRONMENT"]
    code = f"""
import json
from django.conf import settings as s
print(json.dumps([getattr(s, name) for name in {names}]))
assert s.LOG_LEVEL == "INFO"
assert s.CACHES["default"]["LOCATION"] == "redis://localhost:6379/0"
"""
    command = [python_for(project), "manage.py", "shell", "-v0", "-c", code]
    app = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True
    )
    assert app.returncode == 0, app.stderr
    values = " ".join(f'"${name}"' for name in names)
    script = f"set -a; . ./.env; printf '%s\\n' {values}"
    shell = subprocess.run(
        ["sh", "-c", script], cwd=project, capture_output=True, text=True
    )
    assert shell.stdout.splitlines() == json.loads(app.stdout)


def test_env_example_has_every_variable_the_settings_read(render, tmp_path):
    project = render(
        tmp_path / "site", database="postgresql", cache="redis", environment="staging"
    )
    settings = (project / "config" / "settings.py").read_text()
    example = (project / ".env.example").read_text()
    for name in re.findall(r'env\.\w+\(\s*"(\w+)"', settings):
        assert re.search(rf"^(# )?{name}=", example, re.M), name


def test_a_filled_in_env_example_is_enough_on_a_new_machine(
    render, python_for, environment, tmp_path
):
    project = render(tmp_path / "site", environment="production")
    example = (project / ".env.example").read_text()
    key = "Correct-Horse-9" * 4
    (project / ".env").write_text(
        example.replace("SECRET_KEY=\n", f"SECRET_KEY={key}\n")
    )
    check = ["manage.py", "check", "--deploy", "--fail-level=WARNING"]
    result = subprocess.run(
        [python_for(project), *check],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


# --- Documents ------------------------------------------------------------------------


def blocks(markdown):
    """Return the bash blocks of a Markdown text."""
    return re.findall(r"```bash\n(.*?)```", markdown, re.S)


def run(script, folder, environment, **variables):
    """Run a script in bash, stopping at the first failure; return its output."""
    result = subprocess.run(
        ["bash", "-e"],
        input=script,
        cwd=folder,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}"
    return result.stdout


def test_readme_of_a_project_works_line_by_line(render, environment, tmp_path):
    project = render(tmp_path / "my_site", use_docker=False)
    readme = (project / "README.md").read_text()
    setup, checks, update = blocks(readme)
    assert setup.endswith("python manage.py runserver\n")
    run(setup.replace("python manage.py runserver\n", ""), project, environment)
    python = project / ".venv/bin/python"
    pages = re.findall(r"<http://localhost:8000(/\S*)>", readme)
    assert "/api/v1/debug/" in pages
    # Whoever tries this has a port of his own.
    address = f"127.0.0.1:{free_port()}"
    with Process(
        [python, "manage.py", "runserver", address],
        cwd=project,
        env=environment,
        ready_url=f"http://{address}/",
    ) as site:
        for page in pages:
            assert Browser(site.url).get(page)[0] == 200
    assert " passed" in run(f". .venv/bin/activate\n{checks}", project, environment)
    assert update == "copier update --defaults\ngit status\n"


@pytest.mark.parametrize("environment_answer", ["development", "production"])
def test_next_commands_work_as_printed(
    pytestconfig, environment, tmp_path, environment_answer
):
    template = pytestconfig.rootpath
    answers = f"--data use_docker=false --data environment={environment_answer}"
    project = tmp_path / "it's my site"
    command = f"{sys.executable} -m copier copy --defaults {answers} --vcs-ref HEAD"
    copied = run(f'{command} {template} "{project}"', tmp_path, environment)
    message = copied.split("Next:")[1].split("Then ")[0]
    commands = [line.strip() for line in message.splitlines() if line.strip()]
    assert commands[0].startswith("cd ")
    *commands, serve = commands
    assert serve in ("python manage.py runserver", "gunicorn config.wsgi")
    script = "\n".join(commands)
    git = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    git |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in git.items()}
    run(script, tmp_path, environment, **git)
    tracked = run("git ls-files", project, environment).splitlines()
    assert ".copier-answers.yml" in tracked
    assert ".env" not in tracked
    assert not [name for name in tracked if name.startswith((".venv", "staticfiles"))]


def test_requirements_and_lock_of_this_repository_are_in_step(pytestconfig):
    pyproject = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())
    lock = tomllib.loads((pytestconfig.rootpath / "uv.lock").read_text())
    name = pyproject["project"]["name"]
    (metadata,) = [p["metadata"] for p in lock["package"] if p["name"] == name]
    for required, locked in (
        (pyproject["project"]["dependencies"], metadata["requires-dist"]),
        (pyproject["dependency-groups"]["dev"], metadata["requires-dev"]["dev"]),
    ):
        assert {
            (each.name, tuple(each.extras), each.specifier)
            for each in map(Requirement, required)
        } == {
            (
                each["name"],
                tuple(each.get("extras", ())),
                SpecifierSet(each["specifier"]),
            )
            for each in locked
        }
