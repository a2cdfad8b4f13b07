"""docs/deployment.md, followed command by command."""

import os
import re
import secrets
import ssl
import subprocess
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests.docker.stack import Load, Stack, wait_for
from tests.docker.test_survival import COUNT_USERS, CREATE_USER, shell
from tests.servers.process import free_port

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]

PORTS = 'ports: ["80:80", "443:443", "443:443/udp"]'

DELETE_USERS = (
    "from django.contrib.auth import get_user_model as model;"
    "model().objects.all().delete()"
)

GIT = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class Server(Stack):
    """A server that follows the guide in a checkout of its own."""

    def __init__(self, project, tmp_path):
        """Commit what is in the stack `project`, and clone it."""
        self.developer = project
        origin = tmp_path / "origin.git"
        checkout = tmp_path / "server"
        home = tmp_path / "home"
        home.mkdir()
        docker = os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker"))
        super().__init__(
            checkout,
            project.slug,
            project.name,
            GIT | {"HOME": str(home), "DOCKER_CONFIG": docker},
        )
        self.git("init", "-q", "--bare", "-b", "main", str(origin))
        for command in ("init -q -b main", f"remote add origin {origin}"):
            self.git(*command.split())
        self.publish("Start")
        self.git("clone", "-q", "-b", "main", str(origin), str(checkout))
        (checkout / ".env").write_text((project.folder / ".env").read_text())
        self.tls_port = free_port()
        self.tls = ssl._create_unverified_context()

    def git(self, *arguments):
        return self.run("git", *arguments, cwd=self.developer.folder).strip()

    def publish(self, message):
        """Commit and push what the developer has changed, and return the commit."""
        self.git("add", ".")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "-u", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def guide(self, heading, language="bash"):
        """Return the blocks of code below a heading of the guide."""
        text = (self.folder / "docs" / "deployment.md").read_text()
        section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        code = rf"^```{language}\n(.*?)^```"
        return re.findall(code, section[1], re.M | re.S) if section else []

    def follow(self, heading):
        (block,) = self.guide(heading)
        self.script(block)

    def script(self, block):
        self.run("bash", "-euo", "pipefail", "-c", block)

    def connect(self):
        return HTTPSConnection("localhost", self.tls_port, timeout=90, context=self.tls)

    def page(self):
        """Return status and body of the home page, through the proxy."""
        connection = self.connect()
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError as error:  # The proxy is still getting its certificate.
            return 0, str(error)
        finally:
            connection.close()

    def media(self):
        return sorted(self.execute("web", "ls", "data/media").split())


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request, stack, tmp_path):
    project = stack(
        f"site_guide_{request.param}",
        database=request.param,
        environment="production",
        domain="localhost",
        use_sentry=False,
    )
    server = Server(project, tmp_path)
    yield server
    server.remove()


def test_the_guide_works_as_written(server):
    server.follow("First deployment")
    assert server.get("/")[0] == 200
    assert server.execute("web", "printenv", "GIT_COMMIT").strip() == server.git(
        "rev-parse", "HEAD"
    )

    (override,) = server.guide("TLS", "yaml")
    assert PORTS in override
    (server.folder / "docker-compose.override.yml").write_text(
        override.replace(PORTS, f'ports: ["127.0.0.1:{server.tls_port}:443"]')
    )
    server.follow("TLS")
    wait_for(lambda: server.page()[0] == 200)

    shell(server, CREATE_USER)
    server.execute("web", "sh", "-c", "mkdir data/media && touch data/media/old")

    commit = new_version(server)
    assert server.execute("web", "printenv", "GIT_COMMIT").strip() == commit
    assert "<h1>Version two: " in server.page()[1]

    server.follow("Roll back")
    assert "<h1>Version two: " not in wait_for_page(server)

    server.follow("Backup")
    shell(server, DELETE_USERS)
    server.execute("web", "sh", "-c", "rm data/media/old && touch data/media/new")
    assert shell(server, COUNT_USERS).strip() == "0"
    server.follow("Restore")
    assert shell(server, COUNT_USERS).strip() == "1"
    assert server.media() == ["old"]

    if server.slug.endswith("postgresql"):
        move_to_managed_database(server)


def new_version(server):
    """Publish a new version and deploy it under load; nobody notices. Return its commit."""
    home = server.developer.folder / "templates" / "home.html"
    home.write_text(home.read_text().replace("<h1>", "<h1>Version two: "))
    commit = server.publish("Say which version it is")
    # What the login form answers to a POST without its token is 403.
    requests = [("GET", "/"), ("POST", "/admin/login/")] * 3
    with Load(server.connect, *requests, headers={"Host": "localhost"}) as load:
        wait_for(lambda: load.answers[200] > 10 and load.answers[403] > 10)
        server.follow("A new version")
        before = load.answers.copy()
        wait_for(lambda: all(load.answers[s] > before[s] + 10 for s in (200, 403)))
    assert set(load.answers) == {200, 403}
    return commit


def wait_for_page(server):
    return wait_for(lambda: (page := server.page())[0] == 200 and page[1])


def move_to_managed_database(server):
    """Follow the guide to a database that Compose knows nothing of."""
    managed, password = f"{server.name}-managed", secrets.token_hex(8)
    run = ["docker", "run", "--detach", "--rm", "--name", managed]
    options = ["--network", f"{server.name}_default", "--env", "POSTGRES_USER=other"]
    server.run(
        *run,
        *options,
        *("--env", f"POSTGRES_PASSWORD={password}"),
        "postgres:18-alpine",
    )
    try:
        ready = ["docker", "exec", managed, "pg_isready", "--host=127.0.0.1"]
        wait_for(lambda: subprocess.run(ready, capture_output=True).returncode == 0)
        dotenv = server.folder / ".env"
        url = f"DATABASE_URL=postgres://other:{password}@{managed}:5432/other"
        text, replaced = re.subn(r"(?m)^DATABASE_URL=.*", url, dotenv.read_text())
        assert replaced == 1
        dotenv.write_text(text)
        move, start = server.guide("A managed database")
        server.script(move)
        compose = server.folder / "docker-compose.yml"
        text = compose.read_text()
        for pattern in (
            r"    DATABASE_URL: .*\n",
            r"    depends_on:\n      db: .*\n",
            r"\n  db:\n(    .*\n|\n)+",
            r"  db:\n",
        ):
            text, replaced = re.subn(pattern, "", text, count=1)
            assert replaced == 1, pattern
        compose.write_text(text)
        server.script(start)
        assert managed in server.execute("web", "printenv", "DATABASE_URL")
        assert "db" not in server.compose("ps", "--all", "--services").split()
        assert server.get("/readyz/")[0] == 200
        assert shell(server, COUNT_USERS).strip() == "1"
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", managed], check=True)
