"""Every combination of answers gives a complete project that runs."""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import time
from contextlib import contextmanager

import psycopg
import pytest
import redis
import yaml

from tests import matrix as every
from tests.matrix import QUESTIONS
from tests.venvs import ForkServer, Venv

# The files that only some projects have: each path, or all below it, and when.
ONLY_IF = {
    "monitoring/": lambda answers: answers["use_sentry"],
    "tests/test_monitoring.py": lambda answers: answers["use_sentry"],
    "tests/test_privacy.py": lambda answers: answers["use_sentry"],
    "docs/monitoring.md": lambda answers: answers["use_sentry"],
    "docs/privacy.md": lambda answers: answers["use_sentry"],
    ".dockerignore": lambda answers: answers["use_docker"],
    "Dockerfile": lambda answers: answers["use_docker"],
    "docker-compose.yml": lambda answers: answers["use_docker"],
    "docs/deployment.md": lambda answers: answers["use_docker"],
    ".github/": lambda answers: answers["ci"] == "github",
}

# The files that the running Django never opens, which a boot proves. Projects that
# differ in nothing else run alike, and one of them is booted for all.
NOT_RUN = (
    ".copier-answers.yml",
    ".dockerignore",
    ".editorconfig",
    ".env.example",
    ".gitattributes",
    ".github/",
    ".gitignore",
    ".pre-commit-config.yaml",
    "Dockerfile",
    "README.md",
    "docker-compose.yml",
    "docs/",
    "gunicorn.conf.py",
    "pyproject.toml",
    "requirements.txt",
    "tests/",
)

SECRET = re.compile(r"(?<![\w-])[\w-]{64}(?![\w-])")
DEBUG_ENDPOINT = "/api/v1/debug/sentry-test/"


@pytest.fixture(scope="module", params=every.blocks(), ids=lambda block: block.name)
def block(request):
    return request.param


@pytest.fixture(scope="module")
def projects(matrix, block):
    return matrix.projects(block)


@pytest.fixture(scope="module")
def venv(matrix, projects):
    texts = []
    for name in ("pyproject.toml", "requirements.txt"):
        digests = {project.files[name] for project in projects}
        assert len(digests) == 1, f"an answer that is not in BLOCK changes {name}"
        texts.append(matrix.content(digests.pop()).decode())
    return Venv(*texts)


def collected(failures):
    """Return an empty string, or the first failures and how many there are."""
    shown = [f"{project}\n{problem}" for project, problem in failures[:3]]
    return failures and "\n\n".join([f"{len(failures)} projects fail.", *shown])


def test_every_choice_can_be_made():
    combinations = every.combinations()
    for name, question in QUESTIONS.items():
        if question.get("when") is not False:
            for value in every.alternatives(question, question["default"]):
                assert any(answers.get(name) == value for answers in combinations)


def test_the_table_of_files_names_only_files_of_the_template(matrix):
    paths = template_paths(matrix)
    for prefix in (*ONLY_IF, *NOT_RUN):
        assert any(path.startswith(prefix) for path in [*paths, ".copier-answers.yml"])


def test_a_project_has_exactly_the_files_its_answers_allow(
    matrix, projects, block, measure
):
    paths = template_paths(matrix)
    failures = []
    for project in projects:
        expected = {".copier-answers.yml"} | {
            path
            for path in paths
            if all(
                wanted(project.answers)
                for prefix, wanted in ONLY_IF.items()
                if path.startswith(prefix)
            )
        }
        if difference := expected ^ project.files.keys():
            failures.append((project, f"too many or too few: {sorted(difference)}"))
    assert not failures, collected(failures)
    measure("combinations of answers rendered", len(projects))
    measure("seconds to render them", matrix.seconds[block.name])


def template_paths(matrix):
    """Return the paths that the files of the template have in a complete project."""
    folder = matrix.template / "template"
    return {
        path.relative_to(folder).as_posix().removesuffix(".jinja")
        for path in folder.rglob("*")
        if path.is_file() and "{{" not in path.name
    }


def test_no_jinja_is_left_over(matrix, projects):
    folder = matrix.template / "template"
    names = "|".join(QUESTIONS)
    found = set()
    for path, digest in {
        pair for project in projects for pair in project.files.items()
    }:
        assert not re.search(r"[{}]|\.jinja$", path)
        text = matrix.content(digest).decode()
        if (folder / f"{path}.jinja").exists() or path == ".copier-answers.yml":
            left = re.findall(r"(?<!\$)\{\{.*|\{[%#].*", text)
        elif path.endswith(".html"):  # Django's templates look like Copier's
            continue
        else:
            left = re.findall(rf"\{{[{{%#].*\b(?:{names})\b.*", text)
        found.update((path, line) for line in left)
    assert not found


def test_file_names_are_legal_on_windows(projects):
    for path in {path for project in projects for path in project.files}:
        assert not re.search(r'[<>:"|?*\\\x00-\x1f]', path)
        assert not any(part.endswith((".", " ")) for part in path.split("/"))
        assert not re.search(r"(?i)(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)", path)
    for project in projects:
        assert len({path.lower() for path in project.files}) == len(project.files)


def test_the_answers_file_records_the_questions_asked_and_no_secret(matrix, projects):
    failures = []
    for project in projects:
        text = matrix.content(project.files[".copier-answers.yml"]).decode()
        recorded = yaml.safe_load(text)
        # What is asked, yet not in the combinations, is a text at its default.
        texts = {
            name
            for name, question in QUESTIONS.items()
            if question["type"] == "str" and not question.get("secret")
        }
        unexpected = recorded.keys() - project.answers.keys() - {"_src_path"} - texts
        if unexpected or project.answers.items() - recorded.items():
            failures.append((project, text))
    assert not failures, collected(failures)


def test_secrets_are_in_env_alone_and_never_the_same(matrix, projects):
    everywhere = []
    for project in projects:
        contents = {
            path: matrix.content(digest).decode()
            for path, digest in project.files.items()
        }
        secrets = set(SECRET.findall(contents.pop(".env")))
        assert secrets
        everywhere += secrets
        for path, content in contents.items():
            assert not any(secret in content for secret in secrets), (
                f"{path} of {project}"
            )
    assert len(everywhere) == len(set(everywhere))


def test_files_mention_sentry_only_if_it_is_wanted(matrix, projects, block):
    failures = []
    for project in projects:
        mentions = []
        for path, digest in project.files.items():
            text = matrix.content(digest).decode()
            if path == ".copier-answers.yml":
                text = text.replace("use_sentry: false\n", "")
            if "sentry" in f"{path}\n{text}".lower():
                mentions.append(path)
        if bool(mentions) != block.answers["use_sentry"]:
            failures.append((project, mentions))
    assert not failures, collected(failures)


def test_relative_links_in_documents_lead_to_files(matrix, projects):
    failures = []
    for project in projects:
        for path in project.files:
            if not path.endswith(".md"):
                continue
            text = matrix.content(project.files[path]).decode()
            for link in re.findall(r"\]\(([^)#\s]+)", text):
                if "://" in link or link.startswith("mailto:"):
                    continue
                target = posixpath.normpath(posixpath.join(path, "..", link))
                if not any(name.startswith(target) for name in project.files):
                    failures.append((project, f"{path} links to {link}"))
    assert not failures, collected(failures)


def test_the_sentry_sdk_is_installed_only_if_wanted(block, venv):
    done = venv.run("-c", "import sentry_sdk")
    missing = "No module named 'sentry_sdk'" in done.stdout
    assert missing != block.answers["use_sentry"]


def test_every_project_runs(
    matrix, projects, venv, postgres, valkey, tmp_path, measure
):
    distinct = {identity(matrix, project): project for project in reversed(projects)}
    started = time.monotonic()
    failures = []
    with ForkServer(venv) as server:
        for project in distinct.values():
            folder = tmp_path / "project"
            matrix.write(project, folder)
            problem = boot(
                project, folder, server, tmp_path / "static", postgres, valkey
            )
            if problem:
                failures.append((project, problem))
            shutil.rmtree(folder)
    assert not failures, collected(failures)
    measure("distinct projects booted", len(distinct))
    measure("seconds to boot them", time.monotonic() - started)


def identity(matrix, project):
    """Return all that the running Django can read of a project, random values aside."""
    files = {
        path: digest
        for path, digest in project.files.items()
        if not path.startswith(NOT_RUN) and path != ".env"
    }
    lines = matrix.content(project.files[".env"]).decode().splitlines()
    variables = [line.split("=", 1) for line in lines if line and line[0] != "#"]
    values = {
        name: SECRET.sub("random", value)
        for name, value in variables
        if not SECRET.fullmatch(value)
    }
    return json.dumps([files, values], sort_keys=True)


def boot(project, folder, server, static, postgres, valkey):
    """Boot the project in `folder` and visit it; return what is wrong, or None."""
    answers = project.answers
    deployed = answers["environment"] != "development"
    commands = [["check", "--fail-level", "WARNING"]]
    if deployed:
        commands.append(["check", "--deploy", "--fail-level", "WARNING"])
        (folder / "staticfiles").symlink_to(static)
        if not static.exists():
            static.mkdir()
            commands.append(["collectstatic", "--noinput"])
    commands += [["makemigrations", "--check", "--dry-run"], ["migrate", "--noinput"]]

    visits = pages(answers)
    with real_servers(answers, postgres, valkey) as environ:
        result = server.boot(folder, environ, commands, [visit[0] for visit in visits])
        if result["error"]:
            return result["error"] + result["output"]
        for response, (_, status, pattern) in zip(
            result["responses"], visits * 2, strict=True
        ):
            answer = f"{response['status']} {response['headers']} {response['body']}"
            if response["status"] != status or not re.search(pattern, answer):
                return (
                    f"Expected {status} and {pattern}: {response}\n{result['output']}"
                )
        if "sentry_sdk" in result["modules"]:
            return "sentry_sdk is imported, though there is no DSN"
        if extra := [path for path in result["opened"] if path.startswith(NOT_RUN)]:
            return f"opened, against NOT_RUN: {extra}"
        return unused_server(folder, environ)


@contextmanager
def real_servers(answers, postgres, valkey):
    """Yield the variables that lead to an empty database and an empty cache."""
    environ = {}
    if answers["database"] == "postgresql":
        environ["DATABASE_URL"] = postgres.create_database()
    if answers["cache"] == "redis":
        environ["CACHE_URL"] = valkey.url()
    try:
        yield environ
    finally:
        if url := environ.get("DATABASE_URL"):
            postgres.drop_database(url)
        if url := environ.get("CACHE_URL"):
            with redis.Redis.from_url(url) as client:
                client.flushdb()


def unused_server(folder, environ):
    """Return which of the database and the cache the project did not use, or None."""
    if url := environ.get("DATABASE_URL"):
        with psycopg.connect(url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables").fetchall()
        if ("accounts_user",) not in tables:
            return "PostgreSQL does not have the tables"
    elif not (folder / "data" / "db.sqlite3").exists():
        return "there is no SQLite file"
    if url := environ.get("CACHE_URL"):
        with redis.Redis.from_url(url) as client:
            if not client.keys("my_site:*"):
                return "Valkey holds nothing of the project"
    return None


def pages(answers):
    """Return requests with the status and a pattern that the response must have.

    The pattern may be in a header.
    """
    deployed = answers["environment"] != "development"
    debug = answers["use_sentry"] and not deployed
    host = "example.com" if deployed else "localhost"

    def get(path, host=host, https=deployed):
        return {"path": path, "host": host, "https": https}

    found = [
        (get("/"), 200, "<h1>My Site</h1>"),
        (get("/admin/"), 302, r"/admin/login/\?next=/admin/"),
        (get("/admin/login/"), 200, "csrfmiddlewaretoken"),
        (get("/static/css/site.css"), 200, "text/css"),
        (get("/no-such-page/"), 404, "Page not found"),
        (get("/", host="evil.example"), 400, ""),
        # Probes call by IP address and without TLS.
        (get("/healthz/", host="10.0.0.7", https=False), 200, '{"status": "ok"}'),
        (
            get("/readyz/", host="10.0.0.7", https=False),
            200,
            '{"status": "ok", "database": "ok", "cache": "ok"}',
        ),
        (get(DEBUG_ENDPOINT), 400 if debug else 404, "division" if debug else ""),
        (
            get(f"{DEBUG_ENDPOINT}?type=division"),
            500 if debug else 404,
            "ZeroDivisionError" if debug else "",
        ),
    ]
    if deployed:
        found += [
            (get("/", https=False), 301, f"https://{host}/"),
            (get("/"), 200, r"/static/css/site\.[0-9a-f]{12}\.css"),
        ]
    return found


def test_the_tests_of_a_project_pass(
    matrix, projects, venv, postgres, valkey, tmp_path, measure
):
    started = time.monotonic()
    matrix.write(projects[0], tmp_path)
    with real_servers(projects[0].answers, postgres, valkey) as environ:
        environ |= {"PATH": os.defpath, "PYTHONPATH": str(venv.tools)}
        done = venv.run("-m", "pytest", "--quiet", cwd=tmp_path, env=environ)
    assert done.returncode == 0, f"{projects[0]}\n{done.stdout}"
    measure("test suites of projects passed", 1)
    measure("seconds to run them", time.monotonic() - started)
