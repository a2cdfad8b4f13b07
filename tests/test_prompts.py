"""Copier's questions, asked and answered in a real terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape

import pytest
import yaml

from tests import matrix, picture
from tests.matrix import QUESTIONS, ROOT
from tests.terminal import CTRL_C, DOWN, ENTER, RUB_OUT, UP, Terminal

ALL = [
    name for name, question in QUESTIONS.items() if question.get("when") is not False
]

# The questions that the default answers lead to, in their order.
ASKED = [name for name in ALL if name != "domain"]

# An answer that is refused, and how far the refusal must be readable in 80 columns, of
# which Copier takes half to say what it is about.
REFUSED = {
    "project_name": ("", "Enter a name, such as My Site."),
    "project_slug": ("A-B", "Write it like my_site: at most 40"),
    "domain": ("https://shop.example", "Give the bare domain, like example.com"),
    "sentry_dsn": ("garbage", "Copy the whole DSN from Sentry"),
    "sentry_traces_sample_rate": ("10", "Choose from 0 to 1."),
    "sentry_profiles_sample_rate": ("-1", "Choose from 0 to 1."),
}

GOOD = {
    "project_name": "Corner Shop",
    "project_slug": "shop",
    "domain": "shop.example",
    "sentry_dsn": "https://public@sentry.example/1",
    "sentry_traces_sample_rate": "0.25",
    "sentry_profiles_sample_rate": "1",
}

EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template") / "copy"
    matrix.copy_template(folder)
    return folder


@pytest.fixture
def copy(template, tmp_path):
    """Return a function that starts to copy the template to `site` in a terminal."""

    def copy(*options, columns=80, **environ):
        command = [sys.executable, "-m", "copier", "copy", *options, template, "site"]
        return Terminal(command, tmp_path, columns, **environ)

    return copy


def respond(terminal, names, keys=None):
    """Wait for each question and answer it with its keys, or else with its default."""
    for name in names:
        terminal.wait_for(QUESTIONS[name]["help"])
        terminal.press(*(keys or {}).get(name, [ENTER]))


def answers_of(project):
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return {name: value for name, value in recorded.items() if name[0] != "_"}


def default_of(name):
    """Return what the window shows as the default answer of a question."""
    question = QUESTIONS[name]
    if choices := question.get("choices"):
        if isinstance(choices, dict):
            return next(
                label
                for label, value in choices.items()
                if value == question["default"]
            )
    if name == "project_slug":
        return "my_site"
    if question["type"] == "bool":
        return "(Y/n)" if question["default"] else "(y/N)"
    return str(question["default"] or question["placeholder"])


def test_enter_alone_takes_every_default_in_the_order_of_the_questions(
    template, copy, tmp_path
):
    with copy() as terminal:
        for name, following in zip(ASKED, [*ASKED[1:], None], strict=True):
            terminal.wait_for(QUESTIONS[name]["help"])
            terminal.wait_for(default_of(name))
            assert not following or not terminal.shows(QUESTIONS[following]["help"])
            terminal.press(ENTER)
        terminal.wait_for("My Site is ready.")
        assert terminal.exit_status() == 0
    matrix.render(template, tmp_path / "defaults", {})
    assert answers_of(tmp_path / "site") == answers_of(tmp_path / "defaults")


def test_a_question_with_its_help_and_its_answer_take_one_line_each(copy):
    with copy() as terminal:
        respond(terminal, ASKED[:-1])
        terminal.wait_for(QUESTIONS[ASKED[-1]]["help"])
        lines = str(terminal).splitlines()
    for number, name in enumerate(ASKED):
        assert lines[2 * number].endswith(QUESTIONS[name]["help"])


def test_arrows_choose_and_a_letter_says_no(copy, tmp_path):
    keys = {
        "django_version": [DOWN, ENTER],
        "database": [DOWN, ENTER],
        "cache": [UP, ENTER],  # from the first to the last
        "environment": [DOWN, DOWN, UP, ENTER],
        "use_docker": ["n"],
        "ci": [DOWN, ENTER],
    }
    with copy() as terminal:
        respond(terminal, [name for name in ALL if name != "error_dashboard"], keys)
        assert terminal.exit_status() == 0
    expected = {
        "django_version": "6.1",
        "database": "postgresql",
        "cache": "redis",
        "environment": "staging",
        "domain": "example.com",
        "use_docker": False,
        "ci": "none",
    }
    answers = answers_of(tmp_path / "site")
    assert {name: answers[name] for name in expected} == expected
    assert "error_dashboard" not in answers


def test_a_refused_answer_can_be_corrected_and_a_secret_is_not_shown(copy, tmp_path):
    with copy("--data=environment=production") as terminal:
        for name in ALL:
            if name == "environment":
                continue
            if name in REFUSED:
                refused, message = REFUSED[name]
                respond(terminal, [name], {name: [RUB_OUT, refused, ENTER]})
                terminal.wait_for(message)
                terminal.press(RUB_OUT, GOOD[name])
            respond(terminal, [name])
        assert terminal.exit_status() == 0
    assert "sentry.example" not in terminal.output
    answers = answers_of(tmp_path / "site")
    for name in GOOD.keys() - {"sentry_dsn"}:
        assert str(answers[name]) in (GOOD[name], f"{GOOD[name]}.0")
    assert f"SENTRY_DSN={GOOD['sentry_dsn']}\n" in (tmp_path / "site/.env").read_text()


@pytest.mark.parametrize("name", ["project_name", "database", ASKED[-1]])
def test_ctrl_c_leaves_nothing_behind(copy, tmp_path, name):
    with copy() as terminal:
        respond(terminal, ASKED[: ASKED.index(name)])
        respond(terminal, [name], {name: [CTRL_C]})
        terminal.wait_for("Execution stopped by user")
        assert terminal.exit_status() == 1
        assert not terminal.shows("Traceback")
    assert list(tmp_path.iterdir()) == []


def test_a_narrow_window_cuts_the_help_but_not_the_answers(copy, tmp_path):
    columns = 40
    with copy(columns=columns) as terminal:
        for name in ASKED:
            terminal.wait_for(QUESTIONS[name]["help"][: columns - 4])
            terminal.wait_for(default_of(name)[: columns - 4])
            terminal.press(ENTER)
        assert terminal.exit_status() == 0
    assert answers_of(tmp_path / "site")["project_name"] == "My Site"


def test_the_prompts_have_no_colour_where_none_is_wanted(copy):
    with copy() as coloured, copy(NO_COLOR="1") as plain:
        for terminal in (coloured, plain):
            respond(terminal, ASKED[:4])
            terminal.wait_for(QUESTIONS[ASKED[4]]["help"])
        colour = re.compile(r"\x1b\[([0-9]+;)*([34][0-8]|9[0-7]|10[0-7])[;m]")
        assert colour.search(coloured.output)
        assert not colour.search(plain.output)
        assert str(coloured) == str(plain)


def test_the_picture_in_the_readme_shows_the_prompts_as_they_are():
    """If not, `python -m tests.picture` draws it anew."""

    def texts(svg):
        return [unescape(text) for text in re.findall("<text.*?>(.*?)</text>", svg)]

    shown = texts(picture.PICTURE.read_text())
    assert any(
        "What is the project called?" in text.replace("\xa0", " ") for text in shown
    )
    assert texts(picture.draw()) == shown
    assert "http" not in re.sub(
        r'xmlns="\S+"|<!--.*?-->', "", picture.PICTURE.read_text()
    )


def test_there_is_an_example_for_each_common_case():
    assert [path.stem for path in EXAMPLES] == [
        "production",
        "sqlite",
        "without_sentry",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_answers_its_questions_and_no_others_are_left_to_guess(
    template, tmp_path, path
):
    given = yaml.safe_load(path.read_text())
    (command,) = re.findall(r"^#   (copier copy .*)$", path.read_text(), re.M)
    command = command.replace("path/to/this/checkout/examples", str(path.parent))
    command = command.replace("path/to/this/checkout", str(template))
    command = command.replace("my_site", str(tmp_path / "site"))
    run = [sys.executable, "-m", *command.split(), "--defaults", "--quiet"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers = answers_of(tmp_path / "site")
    assert {name: answers.get(name) for name in given} == given
    if len(given) > 1:
        assert answers.keys() - given.keys() == {"project_name", "project_slug"}


def test_an_example_leaves_only_the_name_and_the_dsn_to_be_asked(copy, tmp_path):
    with copy(f"--data-file={ROOT / 'examples' / 'production.yml'}") as terminal:
        respond(terminal, ["project_name", "project_slug", "sentry_dsn"])
        assert terminal.exit_status() == 0
    assert answers_of(tmp_path / "site")["environment"] == "production"
