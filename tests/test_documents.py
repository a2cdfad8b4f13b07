"""A person who follows the documents of a project from top to bottom meets no surprise."""

import ast
import json
import re
import subprocess
from dataclasses import dataclass

import pytest

from tests.servers.process import Process, free_port
from tests.servers.sink import Sink
from tests.test_monitoring import PASSWORD, Browser

EXAMPLE_DSN = "https://examplePublicKey@o0.ingest.sentry.io/0"
ADDRESS = "localhost:8000"


@dataclass(frozen=True)
class Block:
    """A fenced block of a document, and the heading of level 2 or 3 it stands under."""

    heading: str
    language: str
    text: str


def blocks(markdown):
    """Return the blocks of a document in their order, without their indentation."""
    pattern = re.compile(
        r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$"
        r"|^##+ (?P<heading>[^\n]*)$",
        re.M | re.S,
    )
    heading, found = "", []
    for match in pattern.finditer(markdown):
        if match["heading"]:
            heading = match["heading"]
        else:
            text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.M)
            found.append(Block(heading, match["language"], text))
    return found


def write_env(folder, lines):
    """Set the variables that these lines of a .env file name."""
    names = re.findall(r"^(\w+)=", lines, re.M)
    env = folder / ".env"
    kept = [
        line
        for line in env.read_text().splitlines()
        if line.partition("=")[0] not in names
    ]
    env.write_text("\n".join([*kept, lines]))


class Reader:
    """Follows a document in a project with a virtual environment of its own."""

    def __init__(self, folder, environment, dsn):
        self.folder = folder
        self.dsn = dsn
        self.port = free_port()
        self.env = environment | {
            "PATH": f"{folder / '.venv' / 'bin'}:{environment['PATH']}",
            "VIRTUAL_ENV": str(folder / ".venv"),
        }
        self.site = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.site.kill()

    def start(self):
        """Start the server, or start it again."""
        if self.site:
            self.site.stop()
        address = f"127.0.0.1:{self.port}"
        self.site = Process(
            ["python", "manage.py", "runserver", "--noreload", address],
            cwd=self.folder,
            env=self.env,
            ready_url=f"http://{address}/healthz/",
        )

    def run(self, script):
        """Run a script as bash does; return what it wrote, and fail if it fails."""
        script = script.replace(ADDRESS, f"localhost:{self.port}")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def configure(self, lines):
        write_env(self.folder, lines.replace(EXAMPLE_DSN, self.dsn))


@pytest.fixture(scope="module")
def project(render, tmp_path_factory, environment):
    folder = render(
        tmp_path_factory.mktemp("documents") / "shop",
        project_name="Corner Shop",
        use_docker=False,
    )
    create = (
        "from django.contrib.auth import get_user_model as model;"
        f"model().objects.create_superuser('alice', 'alice@example.com', '{PASSWORD}')"
    )
    python = folder / ".venv" / "bin" / "python"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (
        ["uv", "venv", "-q", "--seed", ".venv"],
        ["uv", "pip", "install", "-q", "--python", python, "-r", "requirements.txt"],
        [python, "manage.py", "migrate", "-v0"],
        [python, "manage.py", "shell", "-v0", "-c", create],
        ["git", "init", "-q"],
        [*git, "commit", "-q", "--allow-empty", "-m", "Start"],
    ):
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def monitoring(project):
    return blocks((project / "docs" / "monitoring.md").read_text())


def python_blocks(monitoring):
    return [block.text for block in monitoring if block.language == "python"]


@pytest.mark.parametrize(
    "document", ["README.md", "docs/monitoring.md", "docs/privacy.md"]
)
def test_links_within_a_document_and_to_files_lead_somewhere(project, document):
    path = project / document
    text = path.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_the_documents_hold_no_block_that_is_not_tried(project):
    for document in ("monitoring.md", "privacy.md"):
        found = {b.language for b in blocks((project / "docs" / document).read_text())}
        assert found <= {"bash", "dotenv", "json", "python", "text"}


def test_what_the_pages_say_about_the_project_is_its_own(project):
    text = (project / "docs" / "monitoring.md").read_text()
    assert "Corner Shop can report errors" in text
    assert "call it `corner_shop`" in text
    assert "docker" not in text


def test_commands_of_the_page_on_monitoring_work_from_top_to_bottom(
    project, environment, monitoring
):
    with Sink() as sink, Reader(project, environment, sink.dsn) as reader:
        assert "Sentry" not in reader.site.output()
        for block in monitoring:
            if block.language == "bash":
                output = reader.run(block.text)
                if "sentry_check" in block.text:
                    assert "FAILED" not in output
            elif block.language == "dotenv" and block.heading == "Configuration":
                # One of several examples.
                before = (project / ".env").read_text()
                reader.configure(block.text)
                reader.run("python manage.py check")
                (project / ".env").write_text(before)
            elif block.language == "dotenv":
                reader.configure(block.text)
                reader.start()
                line = "Sentry initialized for environment 'development'"
                on = "SENTRY_DSN=\n" not in block.text
                assert reader.site.output().count(line) == on

        def errors():
            return {
                event["exception"]["values"][-1]["type"]
                for event in sink.events()
                if "exception" in event
            }

        expected = {"ZeroDivisionError", "ValueError", "PermissionError"}
        sink.wait_for(lambda items: errors() >= expected)
        sink.wait_for(lambda items: len(sink.items("check_in")) >= 2)
        statuses = [i.json["status"] for i in sink.items("check_in")]
        assert statuses == ["in_progress", "ok"]
        # The SDK is gone by now, and the project runs.
        reader.start()
        assert Browser(reader.site.url).get("/")[0] == 200
        missing = "import importlib.util as u; assert not u.find_spec('sentry_sdk')"
        reader.run(f'python -c "{missing}"')
        reader.run("uv pip install -q pytest pytest-django && python -m pytest -q")


# --- Code -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def documented(render, python_for, monitoring, tmp_path_factory, environment):
    """A project with the code of the page in it; return its folder and Python."""
    folder = render(tmp_path_factory.mktemp("code") / "shop", use_docker=False)
    commands = folder / "accounts" / "management" / "commands"
    commands.mkdir(parents=True)
    for package in (commands, commands.parent):
        (package / "__init__.py").touch()
    routes = []
    for number, text in enumerate(python_blocks(monitoring)):
        if "MonitoredCommand" in text:
            (commands / "reminders.py").write_text(text)
            continue
        (folder / f"documented{number}.py").write_text(text)
        routes += [
            f'path("{view.name}/", import_module("documented{number}").{view.name}),'
            for view in ast.parse(text).body
            if isinstance(view, ast.FunctionDef)
            and [argument.arg for argument in view.args.args] == ["request"]
        ]
    (folder / "documented_urls.py").write_text(
        "from importlib import import_module\n"
        "from config.urls import handler500, path, urlpatterns\n"
        f"urlpatterns = [*urlpatterns, {' '.join(routes)}]\n"
    )
    (folder / "documented_settings.py").write_text(
        'from config.settings import *\nROOT_URLCONF = "documented_urls"\n'
    )
    python = python_for(folder)
    create = (
        "from django.contrib.auth import get_user_model as model;"
        f"model().objects.create_superuser('alice', 'alice@example.com', '{PASSWORD}')"
    )
    for arguments in (["migrate", "-v0"], ["shell", "-v0", "-c", create]):
        command = [python, "manage.py", *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder, python


@pytest.fixture(scope="module")
def variables(environment):
    return environment | {
        "DJANGO_SETTINGS_MODULE": "documented_settings",
        "SENTRY_TRACES_SAMPLE_RATE": "1",
    }


@pytest.fixture
def serve(documented, variables):
    """Return a function that serves the documented code with this DSN."""
    folder, python = documented

    def serve(dsn):
        address = f"127.0.0.1:{free_port()}"
        return Process(
            [python.parent / "gunicorn", "--bind", address, "config.wsgi"],
            cwd=folder,
            env=variables | {"SENTRY_DSN": dsn},
            ready_url=f"http://{address}/healthz/",
        )

    return serve


VIEWS = {"profile": 500, "pay": 500, "newsletter": 200, "upload": 200, "checkout": 500}


def test_code_of_the_page_sends_what_the_page_says(serve, monitoring):
    with Sink() as sink, serve(sink.dsn) as site:
        browser = Browser(site.url)
        browser.log_in()
        for view, status in VIEWS.items():
            assert browser.get(f"/{view}/")[0] == status
        sink.wait_for(lambda items: len(sink.events()) == 4)
        pages = {f"/{view}/" for view in VIEWS}
        # The log-in has some, too, which may arrive at any time.
        sink.wait_for(
            lambda items: pages <= {t["transaction"] for t in sink.transactions()}
        )
    events = {event["tags"]["request_path"]: event for event in sink.events()}

    (sample,) = [json.loads(b.text) for b in monitoring if b.language == "json"]
    profile = events["/profile/"]
    assert profile["exception"]["values"][-1]["type"] == "User.DoesNotExist"
    assert profile["user"] == sample["user"]
    assert len(sample["tags"].pop("request_id")) == len(profile["event_id"])
    assert profile["tags"].pop("request_id") == profile["event_id"]
    assert profile["tags"] == sample["tags"]

    assert events["/pay/"]["tags"]["payment_provider"] == "example bank"
    assert events["/pay/"]["tags"]["user_tier"] == "premium"

    (handled,) = events["/newsletter/"]["exception"]["values"]
    assert handled["type"] == "ConnectionError"
    assert handled["mechanism"]["handled"] is True
    assert events["/newsletter/"]["tags"]["request_id"]

    flags = events["/checkout/"]["contexts"]["flags"]["values"]
    assert flags == [{"flag": "new_checkout", "result": False}]

    (upload,) = [t for t in sink.transactions() if t["transaction"] == "/upload/"]
    spans = {span.get("description"): span for span in upload["spans"]}
    assert spans["encode the video"]["op"] == "task"
    assert spans["read the video"]["op"] == "function"
    parent = spans["encode the video"]["span_id"]
    assert spans["read the video"]["parent_span_id"] == parent


def test_code_of_the_page_works_without_monitoring(serve):
    with serve("") as site:
        for view, status in VIEWS.items():
            assert Browser(site.url).get(f"/{view}/")[0] == status


def test_a_span_outside_of_a_request_is_a_trace_of_its_own(documented, variables):
    folder, python = documented
    code = "from monitoring.spans import span\nwith span('task', 'count'): pass"
    with Sink() as sink:
        shell = [python, "manage.py", "shell", "-v0", "-c", code]
        env = variables | {"SENTRY_DSN": sink.dsn}
        subprocess.run(shell, cwd=folder, env=env, check=True)
        (transaction,) = sink.wait_for(lambda items: sink.transactions())
    assert transaction["transaction"] == "count"
    assert transaction["contexts"]["trace"]["op"] == "task"


def test_command_of_the_page_reports_its_runs(documented, variables):
    folder, python = documented
    with Sink() as sink:
        command = [python, "manage.py", "reminders"]
        env = variables | {"SENTRY_DSN": sink.dsn}
        subprocess.run(command, cwd=folder, env=env, check=True)
        sink.wait_for(lambda items: len(sink.items("check_in")) >= 2)
        check_ins = [item.json for item in sink.items("check_in")]
    assert [check_in["status"] for check_in in check_ins] == ["in_progress", "ok"]
    assert {check_in["monitor_slug"] for check_in in check_ins} == {"reminders"}
    assert check_ins[0]["monitor_config"]["schedule"]["value"] == "30 6 * * 1-5"
    assert check_ins[0]["monitor_config"]["max_runtime"] == 10


def test_settings_of_the_page_on_privacy_are_accepted(
    documented, variables, environment, tmp_path
):
    folder, python = documented
    page = (folder / "docs" / "privacy.md").read_text()
    code = [block.text for block in blocks(page) if "SENTRY_REDACTION" in block.text]
    assert code
    for number, text in enumerate(code):
        name = f"redaction_settings{number}"
        (folder / f"{name}.py").write_text(f"from config.settings import *\n{text}")
        subprocess.run(
            [python, "manage.py", "check"],
            cwd=folder,
            env=variables | {"DJANGO_SETTINGS_MODULE": name, "SENTRY_DSN": ""},
            check=True,
        )
