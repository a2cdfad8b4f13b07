"""Any text for any question is refused in one sentence or gives a project that runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import matrix
from tests.matrix import QUESTIONS
from tests.venvs import ForkServer, Venv

ASKED = [
    name for name, question in QUESTIONS.items() if question.get("when") is not False
]

# A question that the default answers do not lead to, and the answers that do.
LED_TO = {"domain": {"environment": "production"}}


def some(*parts):
    """Texts of some of these parts, in any order."""
    return st.lists(st.sampled_from(parts), max_size=8).map("".join)


# Texts that are near to a good answer, on both sides of the line.
NEAR = {
    "project_name": some(*"\"'\\{}%#<>&$`*_=-:|é🚀\n\t ", "{{", "%}", "Shop", "\u202e"),
    "project_slug": some(*"abz019_- A\n", "site", "class", "pg_"),
    "domain": some(*"ab9-._:/* \n", "example", ".com", "a" * 63),
    "sentry_dsn": st.tuples(
        st.sampled_from(["https://", "http://", "ftp://", "//", ""]),
        st.sampled_from(["key", "key:secret", "", "$HOME", "a b"]),
        st.sampled_from(["@", ""]),
        st.sampled_from(["example.com", "[::1]", "[host]", "a..b", "", "-"]),
        st.sampled_from(["", ":8000", ":0", ":65536", ":"]),
        st.sampled_from(["/1", "/a/1", "/", "", "/x", "/1/", "/1?a=b", "/1\n", "//1"]),
    ).map("".join),
    "sentry_traces_sample_rate": st.floats(-0.5, 1.5).map(repr) | some(*"01.e-+_ "),
    "sentry_profiles_sample_rate": st.floats(-0.5, 1.5).map(repr) | some(*"01.e-+_ "),
}


# Texts other than a choice are refused, and chance does not find a choice.
NEVER_BY_CHANCE = [name for name in ASKED if "choices" in QUESTIONS[name]]


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with matrix.quickly():
        yield


@pytest.fixture(scope="module")
def server(render, tmp_path_factory):
    project = render(tmp_path_factory.mktemp("default") / "project")
    names = ("pyproject.toml", "requirements.txt")
    with ForkServer(Venv(*((project / name).read_text() for name in names))) as server:
        yield server


@pytest.mark.parametrize("question", ASKED)
def test_any_text_is_refused_in_a_sentence_or_gives_a_project_that_runs(
    render, server, question
):
    near = NEAR.get(question, st.nothing())
    ran = set()

    # The same texts in every run, so that a failure is one of the code, not of a busy
    # machine either.
    @settings(
        max_examples=20,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(st.text(max_size=70) | near)
    def try_it(text):
        answers = LED_TO.get(question, {}) | {question: text}
        with tempfile.TemporaryDirectory() as temporary:
            project = Path(temporary, "project")
            try:
                render(project, **answers)
            except ValueError as error:
                # A kind of ValueError, such as UnicodeError, is no refusal.
                assert type(error) is ValueError
                assert len(str(error).splitlines()) == 1
                assert not project.exists()
                return
            content = "".join(
                (project / name).read_text()
                for name in (".copier-answers.yml", "config/settings.py")
            )
            secret = QUESTIONS[question].get("secret") and text
            if (content, secret) not in ran:
                ran.add((content, secret))
                assert not problem(server, project, answers)

    try_it()
    assert ran or question in NEVER_BY_CHANCE


def problem(server, project, answers):
    """Boot the project and visit its login page; return what is wrong, or None."""
    deployed = answers.get("environment") == "production"
    host = answers.get("domain", "localhost")
    commands = [["check", "--fail-level", "WARNING"]]
    if deployed:
        commands += [["check", "--deploy", "--fail-level", "WARNING"]]
    visit = {"path": "/admin/", "host": host, "https": deployed}
    # Nothing is to be sent to the DSN that was made up.
    quiet = {"SENTRY_TRACES_SAMPLE_RATE": "0"} if answers.get("sentry_dsn") else {}
    result = server.boot(project, quiet, commands, [visit])
    for response in result["responses"]:
        if response["status"] != 302:
            return response
    return result["error"]
