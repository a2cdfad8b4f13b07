"""What each question accepts comes out as it went in; what it refuses changes nothing."""

from __future__ import annotations

import ast
import html
import re
import subprocess
import sysconfig
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from sentry_sdk.utils import BadDsn, Dsn

from tests import matrix
from tests.matrix import QUESTIONS
from tests.venvs import ForkServer, Venv

SCRIPTS = Path(sysconfig.get_path("scripts"))

# What Copier itself refuses, in its own words.
NOT_OFFERED = {
    "django_version": ["4.2", "6.0", ""],
    "database": ["mysql", "SQLite", ""],
    "cache": ["memcached"],
    "environment": ["test", "Production"],
    "error_dashboard": ["sentry"],
    "ci": ["gitlab"],
    "sentry_traces_sample_rate": ["text", "", "10%", "0,1"],
}

REFUSED = {
    "project_name": [
        *["", " ", "\t", "\u3000", "x" * 61],
        *["two\nlines", "line end\n", "\r", "nul\0", "\x1b[31mred", "\x7f", "\x85"],
        *["\u2028", "\u2029", "\u202etxt.exe", "\u2066", "\ud800"],
    ],
    "project_slug": [
        *["", "My_site", "mySite", "2fast", "_site", "site_", "my-site", "my site"],
        *["my.site", "müller", "site\n", "\nsite", "../site", "a" * 41],
        *["class", "import", "none", "config", "accounts", "monitoring", "static"],
        *["tests", "test", "django", "site", "sentry_sdk", "psycopg", "redis"],
    ],
    "domain": [
        *["", "https://example.com", "example.com:8000", "example.com/path", " "],
        *["exam ple.com", "example.com ", "example.com\n", "-a.com", "a-.com"],
        *["a..com", ".com", "example.com.", "*.example.com", "a,b.com", "a" * 64],
        *["user@example.com", "[::1]", "bücher.example", "a." * 126 + "com"],
    ],
    "sentry_traces_sample_rate": ["nan", "inf", "-inf", "-0.1", "1.1", "10"],
    "sentry_profiles_sample_rate": ["nan", "inf", "-inf", "-0.1", "1.1", "10"],
    "sentry_dsn": [
        *["https://key @example.com/1", "https://key@exam ple.com/1"],
        *["https://key@example.com/1?x=y", "https://key@example.com/1#x"],
        *["https://key@example.com/1\nDEBUG=true", "https://$HOME@example.com/1"],
    ],
}

REFUSED_BY_THE_SDK = [
    "garbage",
    "key@example.com/1",
    "//key@example.com/1",
    "ftp://key@example.com/1",
    "https:/key@example.com/1",
    "https://example.com/1",
    "https://@example.com/1",
    "https://:secret@example.com/1",
    "https://key@/1",
    "https://key@:8000/1",
    "https://key@example.com",
    "https://key@example.com/",
    "https://key@example.com/project",
    "https://key@example.com/1.5",
    "https://key@example.com/1/",
    "https://key@example.com/1/envelope",
    "https://key@example.com:port/1",
    "https://key@example.com:99999/1",
    "https://key@[::1/1",
    "https://key@[host]/1",
    "https://<public key>@<host>/<project id>",
]

DSNS = [
    "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/4501234567890123",
    "https://0123456789abcdef0123456789abcdef@o1.ingest.de.sentry.io/1",
    "https://key:secret@example.com/1",
    "http://key@localhost:8000/1",
    "https://key@example.com/path/prefix/1",
    "http://key@127.0.0.1:9000/1",
    "http://key@[::1]:9000/1",
    "https://key@[2001:db8::1]/1",
    "  https://key@example.com/1\t",
]

NAMES = [
    'Bob\'s "best" shop',
    '"""',
    "'''",
    "it's",
    'both " and \' and " again',
    "Fish & Chips &amp; more &#38;",
    "Müller & Söhne, Łódź",
    "日本語のサイト",
    "🚀 family 👩‍👩‍👧‍👦",
    "100% of #1",
    "# not a heading #",
    "costs $5 ${HOME} $(id) `id`",
    "C:\\new\\table",
    "ends with a backslash \\",
    "{{ 7*7 }}",
    "{% raw %}",
    "{% endraw %}{# no comment #}",
    "<b>bold</b><script>alert(1)</script>",
    "*star* _under_ ~~gone~~ [link](https://a.b) ![image](x)",
    "yes: [no, {null}] - | > @ ! %",
    "1. item",
    "- item",
    "null",
    "x" * 60,
    '"' * 60,
]

SLUGS = ["a", "a1", "my_site", "shop2", "classes", "a" * 40]


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with matrix.quickly():
        yield


@pytest.fixture(scope="module")
def boot():
    """Return a function that boots a project with a request for its home page.

    It raises AssertionError if that fails, and else returns what tests/boot.py does.
    """
    servers = {}

    def boot(project):
        requirements = (project / "requirements.txt").read_text()
        if requirements not in servers:
            venv = Venv((project / "pyproject.toml").read_text(), requirements)
            servers[requirements] = stack.enter_context(ForkServer(venv))
        result = servers[requirements].boot(
            project,
            {},
            [["check", "--fail-level", "WARNING"]],
            [{"path": "/", "host": "localhost", "https": False}],
        )
        assert not result["error"], result["error"] + result["output"]
        assert {response["status"] for response in result["responses"]} == {200}
        return result

    with ExitStack() as stack:
        yield boot


def pairs(table):
    return [(question, value) for question in table for value in table[question]]


def refusal(render, folder, question, value):
    """Return the message with which `value` is refused, before anything is written."""
    context = {"environment": "production"} if question == "domain" else {}
    with pytest.raises(ValueError) as caught:
        render(folder, **context, **{question: value})
    assert not folder.exists()
    return str(caught.value)


@pytest.mark.parametrize(("question", "value"), pairs(REFUSED), ids=ascii)
def test_a_refusal_is_one_sentence_that_names_the_fix(
    render, tmp_path, question, value
):
    message = refusal(render, tmp_path / "site", question, value)
    prefix = f"Validation error for question '{question}': "
    assert message.startswith(prefix)
    sentence = message.removeprefix(prefix)
    assert re.match("(Choose|Copy|Enter|Give|Remove|Try|Use|Write) ", sentence)
    assert re.findall(r"[.!?]($|\s)", sentence) == [""]


@pytest.mark.parametrize("dsn", REFUSED_BY_THE_SDK)
def test_a_dsn_that_the_sdk_refuses_is_refused(render, tmp_path, dsn):
    with pytest.raises((BadDsn, ValueError)):
        Dsn(dsn)
    message = refusal(render, tmp_path / "site", "sentry_dsn", dsn)
    assert "Copy the whole DSN from Sentry" in message


@pytest.mark.parametrize(("question", "value"), pairs(NOT_OFFERED), ids=ascii)
def test_an_answer_that_is_not_on_offer_writes_nothing(
    render, tmp_path, question, value
):
    assert repr(value) in refusal(render, tmp_path / "site", question, value)


def test_the_command_line_shows_the_refusal_last(tmp_path):
    target = tmp_path / "site"
    options = ["--defaults", "--data", "project_slug=Shop", matrix.ROOT, target]
    done = subprocess.run(
        [SCRIPTS / "copier", "copy", "--vcs-ref=HEAD", *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "Write it like my_site: at most 40" in done.stderr.splitlines()[-1]
    assert not target.exists()


@pytest.mark.parametrize("dsn", DSNS)
def test_a_good_dsn_goes_to_env_alone(render, tmp_path, dsn):
    Dsn(dsn.strip())
    project = render(tmp_path / "site", sentry_dsn=dsn)
    assert f"SENTRY_DSN={dsn.strip()}" in (project / ".env").read_text().splitlines()
    assert files_with(project, dsn.strip()) == [".env"]


@pytest.mark.parametrize("version", QUESTIONS["django_version"]["choices"].values())
def test_a_project_with_a_dsn_boots_without_deprecations(
    render, boot, tmp_path, version
):
    # Nobody listens there: the project does not wait for an answer.
    dsn = "http://key@127.0.0.1:9/1"
    project = render(tmp_path / "site", django_version=version, sentry_dsn=dsn)
    result = boot(project)
    assert "sentry_sdk" in result["modules"]
    assert "Sentry initialized for environment 'development'" in result["output"]


@pytest.mark.parametrize(
    ("unasked", "answers"),
    [
        ({"domain": "unasked.example"}, {"environment": "development"}),
        ({"sentry_dsn": "https://unasked@example.com/1"}, {"use_sentry": False}),
        ({"sentry_traces_sample_rate": 0.4321}, {"use_sentry": False}),
        ({"sentry_profiles_sample_rate": 0.4321}, {"use_sentry": False}),
        ({"sentry_profiles_sample_rate": 0.4321}, {"sentry_traces_sample_rate": 0}),
        ({"error_dashboard": "bugsink"}, {"use_sentry": False}),
        ({"error_dashboard": "bugsink"}, {"use_docker": False}),
        ({"error_dashboard": "spotlight"}, {"use_docker": False}),
    ],
    ids=str,
)
def test_an_answer_to_a_question_that_does_not_apply_reaches_no_file(
    render, tmp_path, unasked, answers
):
    ((question, value),) = unasked.items()
    with_it = render(tmp_path / "with", **answers, **unasked)
    without = render(tmp_path / "without", **answers)
    assert contents(with_it) == contents(without)
    assert files_with(with_it, str(value)) == files_with(without, str(value))


def contents(project):
    """Return the text of each file but `.env`, whose secrets are made by chance."""
    return {
        path.relative_to(project): path.read_text()
        for path in project.rglob("*")
        if path.is_file() and path.name != ".env"
    }


def files_with(project, text):
    """Return the paths of the files that contain `text`."""
    return sorted(
        path.relative_to(project).as_posix()
        for path in project.rglob("*")
        if path.is_file() and text in path.read_text()
    )


@pytest.mark.parametrize("slug", SLUGS)
def test_a_good_short_name_is_taken_as_it_is(render, tmp_path, slug):
    project = render(tmp_path / "site", project_slug=slug)
    assert toml(project)["name"] == slug


@pytest.mark.parametrize(
    ("name", "slug"),
    {
        "My Site": "my_site",
        "  Spaced   out!  ": "spaced_out",
        "Müller & Söhne": "mueller_soehne",
        "Łódź à la carte": "lodz_a_la_carte",
        "2 Fast": "site_2_fast",
        "Django": "site_django",
        "Class": "site_class",
        "日本語": "my_site",
        "a" * 60: "a" * 40,
    }.items(),
)
def test_the_short_name_comes_from_the_name(render, tmp_path, name, slug):
    project = render(tmp_path / "site", project_name=name)
    assert toml(project)["name"] == slug


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_comes_out_as_it_went_in(render, boot, tmp_path, name):
    project = render(tmp_path / "site", project_name=name)

    assert toml(project)["description"] == name
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert answers["project_name"] == name
    settings = project / "config" / "settings.py"
    (value,) = [
        ast.literal_eval(node.value)
        for node in ast.parse(settings.read_text()).body
        if isinstance(node, ast.Assign)
        and ast.unparse(node.targets[0]) == "PROJECT_NAME"
    ]
    assert value == name
    for check in (["check"], ["format", "--check"]):
        ruff = [SCRIPTS / "ruff", *check, "--no-cache", settings]
        done = subprocess.run(ruff, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    assert heading((project / "README.md").read_text()) == name
    for response in boot(project)["responses"]:
        for tag in ("title", "h1"):
            shown = re.search(f"<{tag}>(.*?)</{tag}>", response["body"])[1]
            assert html.unescape(shown) == name
            assert "<" not in shown


def toml(project):
    return tomllib.loads((project / "pyproject.toml").read_text())["project"]


def heading(markdown):
    """Return the text of the first heading, as a reader sees it."""
    tokens = MarkdownIt().parse(markdown)
    assert [token.type for token in tokens[:3]] == [
        *("heading_open", "inline", "heading_close")
    ]
    inline = tokens[1].children
    assert {token.type for token in inline} <= {"text", "text_special"}
    return "".join(token.content for token in inline)
