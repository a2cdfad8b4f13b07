"""What holds for any text and any tree, and what it costs."""

import json
import math
import re
import string
import time

import pytest
from django.conf import settings
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings

from template.monitoring.redaction import patterns
from template.monitoring.redaction.patterns import Redactor, without_quoted
from template.monitoring.redaction.policy import Policy

if not settings.configured:
    settings.configure(ALLOWED_HOSTS=["testserver"])

from template.monitoring.redaction.rules import Rules  # noqa: E402

OWN = "own-secret-of-the-process"
REDACTOR = Redactor(Policy(), [OWN])
RULES = Rules(REDACTOR)
STRICT = Rules(Redactor(Policy(strict=True), [OWN]))

hypothesis_settings.register_profile(
    "privacy",
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
PROFILE = hypothesis_settings.get_profile("privacy")

# Any text, and texts of the words and marks that patterns look for.
PIECES = (
    "password= token: api_key => 'secret' \"pin\": Bearer Basic Authorization: Cookie: "
    'https:// postgres:// @ / ? & = : :: ; , . - _ [ ] ( ) { } < > \\ \\" \' " %3D \n '
    "eyJ sk_live_ ghp_ AKIA SG. xoxb- -----BEGIN KEY----- -----END $2b$ pbkdf2_sha256$ "
    'Key ( )=( already Failing row contains DETAIL: LINE 1: CONTEXT:  near " “ ” value '
    "hunter2 0123456789 4111111111111111 1.2.3.4 2001:db8::1 a@b.example [Filtered] "
    "[REDACTED_TOKEN] SELECT 'x' -- /* */ $$ VALUES ( IN ( ESCAPE '\\' None"
).split(" ")
TEXT = strategies.text(max_size=200) | strategies.lists(
    strategies.sampled_from(PIECES)
    | strategies.text(string.ascii_letters + string.digits + " ", max_size=80),
    max_size=12,
).map("".join)
SCALAR = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | TEXT
)
TREE = strategies.recursive(
    SCALAR,
    lambda inner: (
        strategies.lists(inner, max_size=5)
        | strategies.dictionaries(TEXT, inner, max_size=5)
    ),
    max_leaves=8,
)
# A secret, and the quoting it may stand in.
SECRET = strategies.text(
    string.ascii_letters + string.digits + "!#$%*+./:@^_|~-", min_size=8, max_size=60
).filter(lambda s: re.search(r"[^\W_]", s))
NAME = strategies.sampled_from(["password", "api_key", "X-Auth-Token", "dbPassword"])


@PROFILE
@given(TEXT)
def test_text_is_redacted_without_an_error_and_once_is_enough(text):
    once = REDACTOR.text(text)
    assert REDACTOR.text(once) == once


@PROFILE
@given(TEXT)
def test_sql_is_redacted_without_an_error_and_holds_no_text(statement):
    shape = REDACTOR.sql(statement)
    assert "'" not in shape
    assert REDACTOR.sql(shape) == shape


@PROFILE
@given(TEXT)
def test_paths_and_lines_are_redacted_without_an_error(text):
    assert REDACTOR.path(REDACTOR.path(text)) == REDACTOR.path(text)
    assert REDACTOR.source(REDACTOR.source(text)) == REDACTOR.source(text)


@PROFILE
@given(TREE)
def test_trees_stay_valid_json_and_keep_their_shape(tree):
    redacted = RULES.tree(tree)
    json.dumps(redacted, allow_nan=False).encode()
    assert RULES.tree(redacted) == redacted, "once is enough"
    if not isinstance(tree, float) or math.isfinite(tree):
        assert type(redacted) is type(tree) or isinstance(tree, int | float)


@PROFILE
@given(
    strategies.sampled_from(["{}={}", "{}: {}", '"{}": "{}"', "'{}': '{}'", "({!r}, {!r})"]),
    NAME,
    SECRET,
    TEXT,
    TEXT,
)  # fmt: skip
def test_no_value_of_a_sensitive_name_is_left(form, name, secret, before, after):
    assert secret not in REDACTOR.text(form.format(name, secret))
    # Whatever stands before it, on a line of its own.
    text = f"x\n{form.format(name, secret)}\n"
    assert secret not in REDACTOR.text(text)


@PROFILE
@given(NAME, SECRET, TREE)
def test_no_value_of_a_sensitive_name_is_left_in_a_tree(name, secret, tree):
    planted = {"a": [{name: secret}, {name: [secret, {"b": secret}]}, [name, secret]]}
    assert secret not in json.dumps(RULES.tree(planted))
    assert secret not in json.dumps(RULES.tree({"text": json.dumps(planted)}))


@PROFILE
@given(
    strategies.text(
        string.ascii_letters + string.digits + "_-", min_size=64, max_size=99
    ),
    TEXT,
    TEXT,
)
def test_no_long_token_is_left(token, before, after):
    if not re.search(r"[^\W_]", token):
        return  # A line drawn across the page.
    text = f"{before} {token} {after}"
    assert token not in REDACTOR.text(text)
    assert token not in json.dumps(RULES.tree({"a": [text], token: 1}))
    assert token not in json.dumps(STRICT.tree({"a": [text]}))


@PROFILE
@given(TEXT, TEXT)
def test_no_secret_of_the_process_is_left(before, after):
    text = before + OWN + after
    assert OWN not in REDACTOR.text(text)
    assert OWN not in REDACTOR.source(text)
    assert OWN not in REDACTOR.sql(text)
    assert OWN not in REDACTOR.path(text)
    assert OWN not in json.dumps(RULES.tree({text: [text]}))


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"pin": 0, "secret": 1.0}, {"pin": "[Filtered]", "secret": "[Filtered]"}),
        ({"token": None, "otp": "", "pin": True}, None),
        (
            {"name": "password", "value": "x"},
            {"name": "password", "value": "[Filtered]"},
        ),
        ({"key": "otp", "value": [1]}, {"key": "[Filtered]", "value": "[Filtered]"}),
        ({"name": "colour", "value": "x"}, None),
        (["password", "x"], ["password", "[Filtered]"]),
    ],
)
def test_a_tree_keeps_what_is_no_secret(tree, expected):
    assert RULES.tree(tree) == (expected or tree)


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("/usr/bin/psql -c x", "psql"),
        ("A=1 B=/x/y:z psql", "psql"),
        ("PGPASSWORD='my x' psql", "[Filtered]"),
        ('A="x y" psql', "[Filtered]"),
        ("A=$(cat x) psql", "[Filtered]"),
        ("A=`cat x` psql", "[Filtered]"),
        (r"A=a\ x psql", "[Filtered]"),
    ],
)
def test_of_a_command_only_the_program_stays(command, program):
    assert RULES.program(command) == program


def test_what_a_database_quotes_goes_from_its_errors_only():
    value = {"type": "DataError", "module": "django.db.utils", "value": "bad 'x1'"}
    assert RULES.exception(value)["value"] == "bad [Filtered]"
    assert RULES.exception(value | {"module": None})["value"] == "bad 'x1'"


def test_release_and_environment_stay_as_they_are_configured():
    rules = Rules(REDACTOR, own=["1.2.3.4", "a@b.example"])
    event = {"release": "1.2.3.4", "environment": "a@b.example", "dist": "1.2.3.5"}
    assert rules.event(event) == event | {"dist": "[REDACTED_IP]"}


@pytest.mark.parametrize(
    "odd",
    [
        {"user": "alice"},
        {"tags": ["a", "b"]},
        {"extra": "a"},
        {"contexts": ["a"]},
        {"request": {"url": "http://[bad/x"}},
        {"breadcrumbs": {"values": [{"category": ["x"]}, {"category": "a"}]}},
        {"breadcrumbs": {"values": [None, {"category": "http", "data": "a"}]}},
    ],
    ids=str,
)
def test_a_part_that_fails_is_left_out_and_the_event_stays(odd):
    failed = []

    def attempt(kind, rule, value):
        try:
            return rule(value)
        except Exception:
            failed.append(kind)

    kept = Rules(REDACTOR, attempt).event({"level": "error", **odd})
    assert failed
    assert kept["level"] == "error"
    if "breadcrumbs" in odd:
        assert kept["breadcrumbs"]["values"] in ([], [{"category": "a"}])
    else:
        assert kept == {"level": "error"}


def items(type):
    """Return a strategy of payloads that have the shape of a type, with any content."""
    tree = strategies.dictionaries(TEXT, TREE, max_size=3)
    return {
        "event": strategies.fixed_dictionaries(
            {
                "exception": strategies.fixed_dictionaries(
                    {
                        "values": strategies.lists(
                            strategies.fixed_dictionaries(
                                {
                                    "type": TEXT,
                                    "value": TEXT,
                                    "stacktrace": strategies.fixed_dictionaries(
                                        {"frames": strategies.lists(tree, max_size=3)}
                                    ),
                                }
                            ),
                            max_size=2,
                        )
                    }
                ),
                "extra": tree,
                "tags": tree,
                "user": tree,
                "contexts": strategies.dictionaries(TEXT, tree, max_size=3),
                "breadcrumbs": strategies.fixed_dictionaries(
                    {"values": strategies.lists(tree, max_size=3)}
                ),
            }
        ),
        "log": strategies.fixed_dictionaries(
            {
                "items": strategies.lists(
                    strategies.fixed_dictionaries(
                        {
                            "body": TEXT,
                            "attributes": strategies.dictionaries(
                                TEXT,
                                strategies.fixed_dictionaries({"value": SCALAR}),
                                max_size=3,
                            ),
                        }
                    ),
                    max_size=3,
                )
            }
        ),
    }[type]


@pytest.mark.parametrize("type", ["event", "log"])
@pytest.mark.parametrize("rules", [RULES, STRICT], ids=["usual", "strict"])
def test_any_item_becomes_valid_json(type, rules):
    @hypothesis_settings(PROFILE, max_examples=30)
    @given(items(type))
    def check(payload):
        json.dumps(rules.by_type[type](payload), allow_nan=False).encode()

    check()


# --- Cost -----------------------------------------------------------------------------

# For each pattern, what makes a careless one go over the same text again and again.
ADVERSARIAL = {
    "letters": "a",
    "digits": "1",
    "capitals and digits": "A1",
    "spaces": " ",
    "new lines": "\n",
    "words": "abc ",
    "dashes": "-",
    "words with dashes": "a-",
    "words with dots": "a.",
    "name and equals sign": "a=",
    "sensitive name": "password=",
    "sensitive name and quote": 'password="',
    "sensitive name and bracket": "password=[",
    "sensitive name and comma": "password=a,",
    "sensitive name and brackets": "password=[{(",
    "sensitive name and quote of HTML": "password&quot;:&quot;",
    "sensitive name in a URL": "%22password%22%3A%22",
    "sensitive name and block of YAML": "password: |\n a\n",
    "sensitive name and doubled quote": 'password=""a',
    "sensitive name and triple quote": 'password="""',
    "name in quotes": '"a": ',
    "backslashes": "\\",
    "escaped quotes": '\\"',
    "sensitive name and escaped quote": 'password\\": \\"',
    "quotes": "'",
    "double quotes": '"',
    "comma and name": ",aaaaaaaa",
    "slashes": "/",
    "short path": "aaaa/",
    "question marks": "a?a=",
    "query": "a?a=b&",
    "addresses": "http://",
    "addresses in URLs": "a%3A%2F%2Fb%40",
    "escaped spaces": "%20a",
    "random": "aB3!",
    "path of random": "aB3/",
    "signed value": "aaaa:aaaaaa:",
    "at signs": "a@",
    "mail": "a@a.",
    "dotted name": "a.a@",
    "percent signs": "%3D",
    "colons": ":",
    "hexadecimal with colons": "ab:",
    "IPv6": "2001:db8:",
    "IPv4": "1.2.3.",
    "card": "4111 1111 ",
    "JSON Web Token": "eyJaaaaa-",
    "JSON Web Tokens": "eyJaaaaa.aaaaa.",
    "SendGrid": "SG.aaaaaaaaaaaaaaaaaa.",
    "OpenAI": "sk-",
    "Telegram": "bot123456789:",
    "PEM": "-----BEGIN A-----",
    "hash": "$2b$",
    "hash of Django": "md5$",
    "authorization": "Authorization: ",
    "bearer": "Bearer ",
    "token": "token aaaa ",
    "key of a row": "Key (a)=(",
    "duplicate": "Duplicate entry '",
    "incorrect value": "incorrect a value: '",
    "near": 'near "',
    "near, somewhere a syntax error": '": syntax error near "',
    "detail": "DETAIL:  Key (",
    "digest": 'Digest a="',
    "time data": "time data ",
    "curly quotes": "“",
    "request": "<WSGIRequest: GET '",
    "Slack": "hooks.slack.com/",
    "comment": "/*",
    "hash sign": "#a",
    "IDENTIFIED": "IDENTIFIED ",
    "line comment": "--",
    "dollar quotes": "$a$",
    "dollars": "$",
    "strings": "'a'",
    "quoted quotes": "''",
    "strings with backslashes": "'\\",
    "identifiers": '"a" ',
    "INTO": "INTO a (",
    "numbers": "1e",
    "minus": "- ",
    "list": "IN (",
}


def seconds(function, text):
    """Return the CPU time, the least of two; a cache sees each text once."""
    times = []
    for number in "12":
        started = time.thread_time()
        function(number + text)
        times.append(time.thread_time() - started)
    return min(times)


SHORT, LONG = 1_000, 32_000  # characters
FLOOR = 1e-5  # Seconds. Below, the clock is too coarse.


@pytest.mark.parametrize("unit", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_the_cost_of_a_text_grows_no_faster_than_the_text(monkeypatch, unit):
    monkeypatch.setattr(patterns, "MAX_LENGTH", LONG + 1000)
    monkeypatch.setattr(patterns, "MAX_SQL_LENGTH", LONG + 1000)
    for function in (REDACTOR.text, REDACTOR.sql, without_quoted):
        short, long = (
            seconds(function, unit * (n // len(unit))) for n in (SHORT, LONG)
        )
        # 32 times the text is 32 times the work, or 1024 times if a pattern goes over
        # it again for each of its letters.
        assert long < 10 * LONG / SHORT * max(short, FLOOR), function


def test_a_huge_text_costs_no_more_than_one_that_is_cut():
    for function in (REDACTOR.text, REDACTOR.sql, REDACTOR.source):
        huge, cut = ("a b=1 " * (n // 6) for n in (3_000_000, 300_000))
        assert seconds(function, huge) < 5 * seconds(function, cut)
