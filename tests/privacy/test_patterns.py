"""What free text keeps and what it loses."""

import html
import json
import re
from types import SimpleNamespace
from urllib.parse import quote, quote_plus

import pytest

from template.monitoring.redaction import patterns
from template.monitoring.redaction.names import is_sensitive
from template.monitoring.redaction.patterns import Redactor, without_quoted
from template.monitoring.redaction.policy import Policy

REDACTOR = Redactor(Policy())

ORDINARY = [
    # Identifiers
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "order 3f2504e04f8911d39a0c0305e82c3301 was paid",
    "9ea316b2c8a0b83d88473bdf07558440a1b2c3d4",
    "commit 9ea316b",
    "e3b0c44298fc1c149afbf4c8996fb924",
    "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "ISBN 978-3-16-148410-0",
    "ticket ABC-1234, row 4711, 12345678 rows",
    "1732382400123",
    "trace 7f1c0a2d9e8b4c63, span 51d9b0c8a7e6f432",
    # Times and versions
    "2026-11-23T17:28:04.123456+00:00",
    "2026-11-23 17:28:04,123",
    "12:34:56",
    "17:28::04",
    "00:00:00:00",
    "1.2.3",
    "v1.2.3.4",
    "Python 3.11.7, Django 5.2.19, sentry-sdk 2.75.0rc1",
    "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/132.0",
    # Names that hold a sensitive word
    "author=Jane",
    "authority: city council",
    "monkey=patched",
    "keyboard: qwertz",
    "tokenize(text)",
    "tokenizer = Tokenizer()",
    "passenger=12A",
    "compass: north",
    "bypass=true",
    "secretary: Ms Smith",
    "sort_key=name",
    "cache_key='page:1'",
    "primary_key=17",
    "foreign_key: author_id",
    "public_key=visible",
    "hockey = played",
    "spinner=on",
    "opinion: good",
    "cookiecutter==2.6",
    "sessions_per_day",
    "CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.sessions.backends.signed_cookies.SessionStore",
    "django.core.exceptions.SuspiciousOperation",
    "<function TokenView.dispatch at 0x7f3a5c0d1e50>",
    "<User: alice>",
    "AttributeError: 'NoneType' object has no attribute 'password'",
    "KeyError: 'token'",
    "The password must have 12 characters.",
    "Token expired",
    "token was refused",
    "Basic training",
    "basic arithmetic: 1 + 1",
    "bearer of bad news",
    "digest of the week",
    "session has ended",
    "check the cookie banner",
    # Addresses and paths
    "https://example.com/orders/17/",
    "https://docs.djangoproject.com/en/5.2/ref/settings/#std-setting-SECRET_KEY",
    "http://localhost:8000/admin/",
    "/usr/lib/python3.11/site-packages/django/core/handlers/exception.py",
    "/srv/shop/releases/20261123/shop/static/css/components/buttons/primary/hover.css",
    "C:\\Users\\build\\project\\manage.py",
    "templates/admin/accounts/user/change_form.html",
    "s3://bucket/folder/file.csv",
    "urn:isbn:0451450523",
    "git@ is a prefix",
    "@decorator",
    "a/b/c?",
    "is it so? yes",
    # Errors and SQL
    "division by zero",
    'relation "accounts_user" does not exist',
    "no such table: accounts_user",
    "UNIQUE constraint failed: accounts_user.username",
    'duplicate key value violates unique constraint "accounts_user_username_key"',
    "canceling statement due to lock timeout",
    "FATAL: the database system is starting up",
    "[Errno 2] No such file or directory: '/etc/shop.conf'",
    "list index out of range",
    "'NoneType' object is not subscriptable",
    "expected 3 arguments, got 4: (1, 2, 3, 4)",
    "unsupported operand type(s) for +: 'int' and 'str'",
    "Connection to redis lost after 3 retries (timeout=5.0s, port=6379)",
    "x = {'a': 1, 'b': [2, 3]}; y = f(x, key=None)",
    "50 % of 1,234.56 EUR = 617.28 EUR",
    "-----------------------------------------------------------------------------",
    "=============================================================================",
    "5105105105105101",  # no card: its check digit is wrong
    "+49 30 901820",
    # Packages, hosts and files that look like addresses
    "lodash@4.17.21",
    "actions/checkout@v4.1.7",
    "logo@2x.png",
    "git@github.com:org/repo",
    "Mozilla/5.0 (X11) Chrome/120.0.0.0 Safari/537.36",
    "version 1.2.3.4",
    "package-1.2.3.4",
    "dead::beef",
    "std::vector<int>::iterator",
    # Beginnings of tokens, and hashes
    "npm_config_user_agent",
    "glibc-minimal-langpack-2.34",
    "global-navigation-header",
    "sk-circle-fade-dots-1",
    "hf_transformers_cache",
    "rnd_generator_state",
    "asiapacificregion",
    "ac3478d69a3c81fa62e60f5c3696165a4e5e6ac4",
    "digest sha256:e3b0c44298fc",
    # Long, and of words, numbers and hashes
    "/srv/app/releases/9ea316b2c8a0b83d88473bdf07558440a1b2c3d4/site/manage.py",
    "/srv/media/3f2504e0-4f89-11d3-9a0c-0305e82c3301/documents/invoices/2026/11/invoice.pdf",
    "/Users/alice/Library/Developer/Xcode/DerivedData/MyApp2/Build/Products/Debug",
    "https://api.example/v1/tenants/3f2504e0-4f89-11d3-9a0c-0305e82c3301/orders/12345/",
    "https://en.wikipedia.org/wiki/K%C3%B6nig%27s_theorem_%28graph_theory%29#Proof_of_it",
    "a.module.of.some.package.v2.with.a.long.dotted.name.and.a.Class2.and_a_method_3",
    # Names of what is around a secret
    "max_tokens=4096",
    "prompt_tokens: 17",
    "session_count=3",
    "cookie_name=foo",
    "auth.User: (models.W042)",
    "authtoken.Token: (models.W042)",
    "('auth', '0001_initial')",
    "table auth_user: 3 rows",
    "password=%s, token: %(token)s",
    "Basic 2026 plan",
    "basic v2.0",
    "unexpected token 1234",
    "A basic self-made object, a basic HTTP request",
    'hotel near "Berlin" found',
    # Prose
    "Die Übertragung ist fehlgeschlagen: Straße nicht gefunden.",
    "L’utilisateur n’a pas été trouvé.",
    "Пользователь не найден: повторите попытку",
    "المستخدم غير موجود",
    "ユーザーが見つかりません",
    "사용자를 찾을 수 없습니다",
    "δεν βρέθηκε",
    "👍 fertig",
    "",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text):
    assert REDACTOR.text(text) == text
    inside = f"Failed to handle {text} at last"
    assert REDACTOR.text(inside) == inside


# (text, the parts of it that must go); the first part is in all of them the worst.
SECRET = "hunter2Zq"
CREDENTIALS = [
    # Headers
    f"Authorization: Bearer {SECRET}",
    f"authorization: Basic {SECRET}==",
    f"Bearer {SECRET}",
    f"bearer {SECRET}.abc-def",
    f"sent Token {SECRET} to the server",
    f"'Authorization': 'ApiKey {SECRET}'",
    f"Cookie: a=b; sessionid={SECRET}; c=d",
    f"Set-Cookie: csrftoken={SECRET}; Path=/",
    f"X-Api-Key: {SECRET}",
    f"[(b'authorization', b'Bearer {SECRET}')]",
    f"('X-Auth-Token', '{SECRET}')",
    # Names and values, in any quoting
    f"password={SECRET}",
    f"password='1234_{SECRET}'",
    f"password = {SECRET}",
    f"password: {SECRET}",
    f"password => {SECRET}",
    f"password := {SECRET}",
    f"PASSWORD={SECRET}",
    f"Password: {SECRET}!",
    f"dbPassword={SECRET}",
    f"db.password={SECRET}",
    f"--password={SECRET}",
    f"--password='{SECRET}'",
    f"new_password1={SECRET}",
    f'password="{SECRET}"',
    f'password="two words {SECRET}"',
    f"password='it\\'s {SECRET}'",
    f"password=({SECRET})",
    f"password=<{SECRET}>",
    f"password=[{SECRET}]",
    f"password={{{SECRET}}}",
    f"passwords=['x', '{SECRET}']",
    f"password=a&{SECRET}",
    f"password=a;{SECRET}",
    f"password=a,{SECRET}",
    f"password=a){SECRET}",
    f"password=pa'{SECRET}",
    f"owner='password={SECRET}'",
    f"{{'password': '{SECRET}'}}",
    f'{{"password": "{SECRET}"}}',
    f'{{"password":"{SECRET}","a":1}}',
    f'{{\\"password\\": \\"{SECRET}\\"}}',
    f'{{\\\\\\"password\\\\\\": \\\\\\"{SECRET}\\\\\\"}}',
    f"{{b'password': b'{SECRET}'}}",
    f"<QueryDict: {{'password': ['{SECRET}']}}>",
    f"user[password]={SECRET}",
    f"password%3D{SECRET}",
    f"User(name='x', password='{SECRET}')",
    f"api_key={SECRET}",
    f"apikey={SECRET}",
    f"apiKey={SECRET}",
    f"API_KEY_V2={SECRET}",
    f"x-api-key={SECRET}",
    f"secret={SECRET}",
    f"client_secret={SECRET}",
    f"clientSecret={SECRET}",
    f"access_token={SECRET}",
    f"refreshToken={SECRET}",
    f"csrfmiddlewaretoken={SECRET}",
    f"sessionid={SECRET}",
    f"private_key={SECRET}",
    f"AccountKey={SECRET}",
    f"aws_secret_access_key = {SECRET}",
    f"PGPASSWORD={SECRET} psql",
    f"passphrase={SECRET}",
    f"pwd={SECRET}",
    f"otp={SECRET}",
    f"pin: {SECRET}",
    f"cvv={SECRET}",
    f"iban={SECRET}",
    f"ssn={SECRET}",
    f"dbpass={SECRET}",
    f"authkey={SECRET}",
    f"masterkey: {SECRET}",
    f"accesskeyid={SECRET}",
    f"creds={SECRET}",
    f"mfa={SECRET}",
    f"password{' ' * 40}= {SECRET}",
    f"password != {SECRET}",
    f"password[]={SECRET}",
    f"password[0]={SECRET}",
    f"passwords={{'a': {{'b': 1}}, 'c': '{SECRET}'}}",
    f"passwords={{'a': {{'b': [1]}}, 'c': '{SECRET}'}}",
    f"password: |\n  {SECRET}",
    f"password: >-\n  two words\n  {SECRET}",
    f"password='''two words {SECRET}'''",
    f'x,""password"": ""two words {SECRET}""',
    f"%22password%22%3A%22{SECRET}%22",
    f"a%3Dpassword%3D{SECRET}",
    f"&quot;password&quot;: &quot;two words {SECRET}&quot;",
    f"&#34;password&#34;: &#34;two words {SECRET}&#34;",
    f"\\u0022password\\u0022: \\u0022two words {SECRET}\\u0022",
    f'{{"name": "password", "value": "{SECRET}"}}',
    f'Digest username="x", response="{SECRET}"',
    f'Digest a, response="{SECRET}"',
    f'Bearer "{SECRET}"',
    f"Bearer%20{SECRET}",
    f"Bearer 12|{SECRET}",
    # Addresses
    f"https://alice:{SECRET}@example.com/",
    f"https://{SECRET}@sentry.example/1",
    f"postgres://shop:{SECRET}@db:5432/shop",
    f"redis://:{SECRET}@cache:6379/0",
    f"amqp://shop:{SECRET}@queue//",
    f"could not connect to postgresql+psycopg://shop:{SECRET}@db/shop!",
    f"postgres://shop:a@{SECRET}@db/shop",
    f"postgres:\\/\\/shop:{SECRET}@db",
    f"postgres%3A%2F%2Fshop%3A{SECRET}%40db",
    f"https://example.com/reset?token={SECRET}",
    f"https://example.com/search?q={SECRET}&page=2",
    f"https://example.com/search?filter[owner]={SECRET}",
    f"GET /search/?q={SECRET} HTTP/1.1",
    f"GET /search/?a=(b)&q={SECRET} HTTP/1.1",
    f"<WSGIRequest: GET '/reset/{SECRET}/?next=/'>",
    f"<ASGIRequest: POST '/reset/{SECRET}/'>",
    f"https://hooks.slack.com/services/T000/B000/{SECRET}",
    f"https://discord.com/api/webhooks/123/{SECRET}",
    # People
    f"{SECRET}@example.com",
    f"mailto:{SECRET}.smith+shop@mail.example.co.uk",
    # What servers and Python quote
    f"DETAIL:  Key (email)=({SECRET}) already exists.",
    f"DETAIL:  Key (a, b)=({SECRET}, (x)) already exists.",
    f"DETAIL:  Failing row contains (1, {SECRET}, null).",
    f"Failing row contains (x\n{SECRET}",
    f'DETAIL:  Token "{SECRET}" is invalid.',
    f"DETAIL:  Partition key of the failing row contains (a) = ({SECRET}).",
    f'syntax error in tsquery: "{SECRET}"',
    f'date/time field value out of range: "{SECRET}"',
    f'malformed array literal: "{{{SECRET}"',
    f"Unknown or incorrect time zone: '{SECRET}'",
    f'syntax error at or near "{SECRET}"',
    f'near "{SECRET}": syntax error',
    f"Duplicate entry '{SECRET}' for key 'email'",
    f'invalid input syntax for type integer: "{SECRET}"',
    f"LINE 1: SELECT '{SECRET}'",
    f"invalid literal for int() with base 10: '{SECRET}'",
    f"could not convert string to float: '{SECRET}'",
    f"Invalid isoformat string: '{SECRET}'",
    f"time data '{SECRET}' does not match format '%Y'",
    f"Field 'id' expected a number but got '{SECRET}'.",
    f"“{SECRET}” value has an invalid date format.",
    f"“{SECRET}” is not a valid UUID.",
    f"Invalid HTTP_HOST header: '{SECRET}.example'.",
    # Hashes of passwords
    f"pbkdf2_sha256$870000$salt${SECRET}",
    f"argon2$argon2id$v=19$m=102400,t=2,p=8${SECRET}",
    f"$2b$12${SECRET}",
    f"bcrypt_sha256$$2b$12${SECRET}",
    f"pbkdf2:sha256:600000$salt${SECRET}",
    f"scrypt:32768:8:1$salt${SECRET}",
    f"$apr1$salt${SECRET}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}",
]


@pytest.mark.parametrize("text", CREDENTIALS)
def test_a_credential_goes(text):
    assert SECRET not in REDACTOR.text(text)
    assert SECRET not in REDACTOR.text(f"Failed for x: {text} (see above)")
    assert SECRET not in REDACTOR.text(f'{{"message": "{text}"}}')


RECOGNISED = [
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "rk_test_4eC39HqLyjWDarjtT1zdp7dc",
    "whsec_4eC39HqLyjWDarjtT1zdp7dc",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "gho_16C7e42F292c6912E7710c838347Ae178B4a",
    "github_pat_11AAAAAAA0abcdefghijkl_mnopqrstuvwxyz0123456789",
    "glpat-xxYYzz1234567890abcd",
    "xoxb-123456789012-abcdefGHIJKL",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAABCDEFGHIJKLMNOP",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "ya29.a0AfH6SMBxyz-1234567890",
    "GOCSPX-abcdefghijklmnop123456",
    "SG.ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf09kqeF8tAmbihYzrnopKc",
    "sk-proj-abcdefghijklmnopqrstuvwx1234",
    "sk-ant-api03-abcdefghijklmnopqrstuvwx",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "pypi-AgEIcHlwaS5vcmcCJDU0",
    "dop_v1_0123456789abcdef0123456789abcdef",
    "shpat_0123456789abcdef0123456789abcdef",
    "sntrys_eyJpYXQiOjE2ODc_abcdef0123456789",
    "hf_abcdefghijklmnopqrstuvwxyz",
    "hvs.CAESIJ1234567890abcdef",
    "dckr_pat_abcdefghijklmnopqrstuvwx",
    "lin_api_abcdefghijklmnopqrstuvwx",
    "AC0123456789abcdef0123456789abcdef",
    "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawX",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.",
    "4111111111111111",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "378282246310005",
    "6011111111111117",
    "192.168.17.42",
    "8.8.8.8",
    "2001:db8:85a3::8a2e:370:7334",
    "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
    "fe80::1ff:fe23:4567:890a",
    "::ffff:192.0.2.128",
    "alice@example.com",
    "eyJ1c2VyIjoxfQ:1xVvQt:6UoWdyWvPXcDLvNYUoWdyWvPXcDLvNYUoWdyWvPXcD",
    "cn3m4x-0123456789abcdef0123456789abcdef",
    ".eJyrViotTi2Kz0xRsjLSUcpLzE1VslJKSczN8UgtykvMTVXSUUrJz1OqBQDvyQtX:1xVvQt:6UoWdyWvPXcDLvNYUoWdyWvPXcDLvNY",
    "b0!x4@m#9k$e%2^r&7*t(1-u_5=i+8)o3p6!a@s#d4$f%g^0h&j*k(l-9z_x=c+v",
    "aB3.dE5~fG7.hI9~jK1.lM3~nO5.pQ7~rS9.tU1~vW3.xY5~zA7.bC9~dE1.fG3~hI5",
    ":".join(["9e", "a3", "16", "b2", "c8"] * 7),
    "0123456789abcdef" * 4,
    "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4",
    "aB3/" * 16 + "aB3+x==",
    "h3/Kf9/Lw2Qe7Rt5Yu1/Io8Pa6Sd4Fg3Hj2/Kl0Zx9Cv8Bn7/Mq6We5Rt4Yu3Io2Pa1S",
    "a-very-long-passphrase-of-many-plain-words-that-somebody-thought-of-today",
]


@pytest.mark.parametrize("secret", RECOGNISED)
def test_a_known_kind_of_secret_is_recognised_anywhere(secret):
    # A part of it must not stay either, save the words that tell what it is.
    inside = secret[len(secret) // 3 : -len(secret) // 3]
    for text in (
        "{}",
        "key {} refused",
        "<{}>",
        '"{}"',
        "({})",
        "x={};",
        "got {}.",
        "a/{}",
        r"a\n{}\nb",
        r"\t{}",
        "a%20{}%20b",
        "x%3D{}",
        r"x\u003d{}",
        "\x1b[31m{}\x1b[0m",
        "key_{}",
        "用户{}不存在",
        "é{}",
    ):
        assert inside not in REDACTOR.text(text.format(secret))


def test_a_long_token_says_so():
    text = "Failed to authenticate with key: " + "0123456789abcdef" * 4
    assert REDACTOR.text(text) == "Failed to authenticate with key: [REDACTED_TOKEN]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a password=x, b=1", "a password=[Filtered], b=1"),
        ("a=1&token=x&b=2", "a=1&token=[Filtered]&b=2"),
        ('{"token": "x", "b": 1}', '{"token": "[Filtered]", "b": 1}'),
        ("f(password='x', b=1)", "f(password='[Filtered]', b=1)"),
        ("User(password=None, b=1)", "User(password=None, b=1)"),
        ("https://a:b@c.example/d", "https://[Filtered]@c.example/d"),
        ("/search?q=x&page=2 failed", "/search?[Filtered] failed"),
        ("mail to a@b.example now", "mail to [REDACTED_EMAIL] now"),
        ("from 10.0.0.1: refused", "from [REDACTED_IP]: refused"),
        ("Key (email)=(x) already exists.", "Key (email)=([Filtered]) already exists."),
        ("from 2001:db8::1: refused", "from [REDACTED_IP]: refused"),
        ("ip:2001:db8::1", "ip:[REDACTED_IP]"),
        ("10.0.0.1-10.0.0.9", "[REDACTED_IP]-[REDACTED_IP]"),
        ("ip_10.0.0.1_443", "ip_[REDACTED_IP]_443"),
        ("4111 1111 1111 1111 12/29", "[REDACTED_CARD] 12/29"),
        ("23 4111111111111111EUR", "23 [REDACTED_CARD]EUR"),
        ("card4111111111111111", "card[REDACTED_CARD]"),
        ("/a/?token=x failed", "/a/?[Filtered] failed"),
        ("DETAIL:  Key (a)=(x) is.", "DETAIL:  Key (a)=[Filtered]"),
        ("password: '%s', b", "password: '%s', b"),
        (
            "/srv/aB3dE5fG7hI9jK1lM3nO5pQ7rS9t/a/path/of/many/words/and/some/more/of/them",
            "/srv/[REDACTED_TOKEN]/a/path/of/many/words/and/some/more/of/them",
        ),
    ],
)
def test_the_text_around_a_secret_stays(text, expected):
    assert REDACTOR.text(text) == expected


SENSITIVE_NAMES = (
    "password passwd new_password1 dbPassword PGPASSWORD secret SECRET_KEY clientSecret "
    "token accessToken csrfmiddlewaretoken api_key apikey apiKey API-KEY X-Api-Key "
    "APIKey api_key_v2 STRIPE_API_KEY_LIVE private_key authorization Proxy-Authorization "
    "cookie cookies sessionid session jwt otp pin cvv iban ssn credit_card card_number "
    "HTTP_AUTHORIZATION HTTP_COOKIE signature X-Hub-Signature-256 passphrase dsn key "
    "wp-password form[password] account.credentials bearer dbpass userpass authkey "
    "masterkey signingkey encryptionkey accesskeyid creds hmac mfa input_token auth_token"
).split()
ORDINARY_NAMES = (
    (
        "author authors author_id authority monkey keyboard tokenize tokenizer passenger "
        "bypass compass secretary spinner opinion hockey sort_key cache_key primary_key "
        "public_key foreign_key keyword name username email_sent city status password_ "
        "created_at order_id colour sidebar inside residence considered assigned design "
        "signal cookiecutter keys_count session_count max_tokens auth_user auth.User "
        "token_type cookie_name SESSION_COOKIE_NAME"
    )
    .replace(" password_", "")
    .split()
)


@pytest.mark.parametrize("name", SENSITIVE_NAMES)
def test_a_sensitive_name_is_recognised(name):
    assert is_sensitive(name)


@pytest.mark.parametrize("name", ORDINARY_NAMES)
def test_an_ordinary_name_is_not_sensitive(name):
    assert not is_sensitive(name)


def test_a_name_too_long_to_judge_is_sensitive():
    assert is_sensitive("a" * 1_000_000)


@pytest.mark.parametrize(
    ("statement", "shape"),
    [
        (
            "SELECT \"a\".\"id\", 1 FROM \"a\" WHERE \"a\".\"b\" = 'x' AND c IN (1, 2)",
            'SELECT "a"."id", ? FROM "a" WHERE "a"."b" = ? AND c IN (?, ?)',
        ),
        ("SELECT 'it''s', E'a', x'00', -1.5e3", "SELECT ?, ?, ?, ?"),
        ("SELECT 1 -- why\nFROM t", "SELECT ? \nFROM t"),
        ("SELECT /* why */ 1", "SELECT  ?"),
        ("SELECT $1, $2::int, %s, T3.id, col_1", "SELECT $1, $2::int, %s, T3.id, col_1"),
        ("SELECT $tag$it's$tag$, $$x$$", "SELECT ?, ?"),
        (
            'INSERT INTO "t" ("a", "b") VALUES (%s, \'x\') RETURNING "t"."id"',
            'INSERT INTO "t" ("a", "b") VALUES (%s, ?) RETURNING "t"."id"',
        ),
        (
            'UPDATE "t" SET "a" = \'x\', "b" = 2 WHERE "t"."id" = 3',
            'UPDATE "t" SET "a" = ?, "b" = ? WHERE "t"."id" = ?',
        ),
        (
            'SELECT COUNT(*) AS "__count" FROM "t" WHERE "t"."a" LIKE %s ESCAPE \'\\\' '
            "AND \"t\".\"b\" = 'x'",
            'SELECT COUNT(*) AS "__count" FROM "t" WHERE "t"."a" LIKE %s ESCAPE ? '
            'AND "t"."b" = ?',
        ),
        ("SELECT `a`.`b` FROM `a` WHERE c = \"x\"", "SELECT `a`.`b` FROM `a` WHERE c = ?"),
        ("SELECT * FROM t WHERE a IN (\"x\", \"y\")", "SELECT * FROM t WHERE a IN (?, ?)"),
        (
            'SELECT "s"."session_key", "s"."expire_date", "u"."password", "u"."last_login" '
            'FROM "s" WHERE "s"."session_key" = \'x\' AND NOT "s"."token" IS NULL',
            'SELECT "s"."session_key", "s"."expire_date", "u"."password", "u"."last_login" '
            'FROM "s" WHERE "s"."session_key" = ? AND NOT "s"."token" IS NULL',
        ),
        (
            'INSERT INTO "u" ("password", "last_login") VALUES (%s, %s)',
            'INSERT INTO "u" ("password", "last_login") VALUES (%s, %s)',
        ),
        ("SELECT 1 #why", "SELECT ? "),
        ("SELECT a #> '{b}', a #>> '{c}'", "SELECT a #> ?, a #>> ?"),
        ("SELECT 1 /* a /* b */ c */", "SELECT ? "),
        ('CREATE USER bob IDENTIFIED BY "x"', "CREATE USER bob IDENTIFIED ?"),
        ("SELECT 'no end", "SELECT ?"),
        ("SELECT 'end with \\", "SELECT ?"),
        ("SELECT 'a\\' OR b = 'x'", "SELECT ?"),
    ],
)  # fmt: skip
def test_sql_keeps_its_shape_and_loses_its_literals(statement, shape):
    assert REDACTOR.sql(statement) == shape


def match(*args, **kwargs):
    return SimpleNamespace(args=args, kwargs=kwargs)


@pytest.mark.parametrize(
    ("path", "resolved", "expected"),
    [
        ("/orders/17/", match(pk=17), "/orders/17/"),
        ("/users/alice/edit/", match(username="alice"), "/users/alice/edit/"),
        (
            "/users/a@b.example/",
            match(username="a@b.example"),
            "/users/[REDACTED_EMAIL]/",
        ),
        ("/reset/MQ/abc-def/", match(token="abc-def"), "/reset/MQ/[Filtered]/"),
        ("/share/a b/", match(secret="a b"), "/share/[Filtered]/"),
        ("/x/9f8e7d6c5b4a/", match("9f8e7d6c5b4a"), "/x/[Filtered]/"),
        ("/x/17/", match("17"), "/x/17/"),
        ("/x/abcdef/", match(token="fedcba"), "/x/abcdef/"),
        ("/x/abc1def/", match(token="fed1cba"), "/x/[Filtered]/"),
        ("/orders/17/edit/", None, "/orders/17/edit/"),
        ("/api/v1/well-known/a.html", None, "/api/v1/well-known/a.html"),
        ("/reset/9f8e7d6c5b4a/", None, "/reset/[Filtered]/"),
        ("/a@b.example/", None, "/[Filtered]/"),
        ("/u/3f2504e0-4f89-11d3-9a0c-0305e82c3301/", None, "/u/[Filtered]/"),
        ("/orders/<int:pk>/{slug}/", None, "/orders/<int:pk>/{slug}/"),
        ("https://example.com/orders/17/", None, "/orders/17/"),
    ],
)
def test_a_path_keeps_its_shape(path, resolved, expected):
    assert REDACTOR.path(path, resolved) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("    password = request.POST['password']", None),
        ("    token = get_token(request)", None),
        ("    if token == other.token:", None),
        ("    return sign(key=settings.SECRET_KEY)", None),
        ('    password = "hunter2"', '    password = "[Filtered]"'),
        ("    PIN = 1234", "    PIN = [Filtered]"),
        ("    call(api_key='abc', b=1)", "    call(api_key='[Filtered]', b=1)"),
        ('    password: str = "x1"', '    password: str = "[Filtered]"'),
        ('    password = """x1"""', '    password = """[Filtered]"""'),
        ('    password = ("x1")', '    password = ("[Filtered]")'),
        ('    if password != "x1":', '    if password != "[Filtered]":'),
        ('    password = y or "x1"', '    password = y or "[Filtered]"'),
        ('TOKENS = ["x1", "x2"]', 'TOKENS = ["[Filtered]", "[Filtered]"]'),
        ('PASSWORDS = {"a": "x1"}', 'PASSWORDS = {"[Filtered]": "[Filtered]"}'),
        (
            'connect("host=db password=x1 port=1")',
            'connect("host=db password=[Filtered] port=1")',
        ),
        ('os.putenv("API_KEY", "x1", "b")', 'os.putenv("API_KEY", "[Filtered]", "b")'),
        ("    pass  # password: x1", "    pass  # password: [Filtered]"),
        ('    password = data["password"] + parts[0]', None),
        ('    password = env("DB_PASSWORD")', None),
        ("    token = f(x, 1)", None),
        ('    log("password: %s", password)', None),
        ('    raise E(f"refused key: {secrets.token_hex(32)}")', None),
        ('    raise E(f"refused key: {user.key!r:>20}, {other}")', None),
        ("    E(f\"key: {'x1'}\")", '    E(f"key: [Filtered]")'),
        ('    dependencies = [("auth", "0001_initial")]', None),
    ],
)
def test_source_code_stays_readable(line, expected):
    assert REDACTOR.source(line) == (expected or line)


def test_a_project_adds_names_patterns_and_query_parameters():
    redactor = Redactor(
        Policy.from_settings(
            {
                "sensitive_names": ["Kennwort"],
                "patterns": [r"KD-\d+"],
                "allowed_query_params": ["page"],
            }
        )
    )
    text = redactor.text("kennwort=abc KD-123 /x?page=2&q=abc")
    assert text == "kennwort=[Filtered] [Filtered] /x?page=2&[Filtered]"


def test_own_secrets_go_in_every_form():
    secret = 'ü "quoted"/50%&it\'s\nso'
    percent = quote(secret, safe="")
    redactor = Redactor(Policy(), [secret])
    for form in {
        secret,
        quote(secret),
        percent,
        re.sub("%..", lambda match: match[0].lower(), percent),
        quote(percent),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        json.dumps(secret)[1:-1].replace("&", "\\u0026"),
        repr(secret)[1:-1],
        repr(secret.encode())[2:-1],
        html.escape(secret),
    }:
        assert redactor.text(f"it is {form}, yes") == "it is [Filtered], yes", form


def test_a_short_own_secret_must_stand_alone():
    redactor = Redactor(Policy(), ["shopping"])
    assert redactor.text("of window-shopping") == "of window-[Filtered]"
    assert redactor.text("of shoppings") == "of shoppings"


# (settings or environment, what of it is a secret); of names, hosts and classes nothing.
OWN = [
    ({"DB_PASSWORD": "value-1"}, ["value-1"]),
    ({"SECRETS": {"stripe": "value-1", "list": ["value-2"]}}, ["value-1", "value-2"]),
    ({"API_KEYS": {"alice": "value-1"}}, ["value-1"]),
    ({"CRYPTO_KEY": b"value-1"}, ["value-1"]),
    ({"PWD_SECRET": "value-1"}, ["value-1"]),
    ({"API_KEY": "secret-token"}, ["secret-token"]),
    ({"API_TOKEN": "/aB3dEf9h"}, ["/aB3dEf9h"]),
    ({"A": {"B": {"password": "value-1"}}}, ["value-1"]),
    ({"CACHE": "redis://:p%40ssword@cache/0"}, ["p%40ssword", "p@ssword"]),
    ({"DB": "Server=db;User Id=sa;Password=value-1;"}, ["value-1"]),
    ({"HOOK_SECRET": "https://a.example/x1y2z3/"}, ["https://a.example/x1y2z3/"]),
    ({"SECRETS_JSON": '{"stripe": "value-1"}'}, ["value-1", '{"stripe": "value-1"}']),
    ({"SIMPLE_JWT": {"AUTH_HEADER_TYPES": ("Bearer",)}}, []),
    ({"SIMPLE_JWT": {"AUTH_TOKEN_CLASSES": ("jwt.tokens.AccessToken",)}}, []),
    ({"SIMPLE_JWT": {"TOKEN_TYPE_CLAIM": "token_type"}}, []),
    ({"REST_AUTH": {"JWT_AUTH_COOKIE": "access-token"}}, []),
    ({"API_KEY_HEADER": "X-Api-Key"}, []),
    ({"AUTH_PROVIDER": "google"}, []),
    ({"AUTH_SCOPES": ["profile"]}, []),
    ({"AUTH_REDIRECT_URL": "dashboard"}, []),
    ({"COOKIE_DOMAIN": "shop.example"}, []),
    ({"TOKEN_URL": "https://idp.example/oauth/token"}, []),
    ({"SESSION_COOKIE_NAME": "shop_session"}, []),
    ({"TOKEN_FILE": "/run/secrets/token"}, []),
    ({"COLOUR": "magenta"}, []),
]


@pytest.mark.parametrize(("values", "expected"), OWN)
def test_own_secrets_are_values_and_not_names(monkeypatch, values, expected):
    from template.monitoring.redaction import secrets

    monkeypatch.setattr(
        secrets, "settings", SimpleNamespace(is_overridden=bool, **values)
    )
    monkeypatch.setattr(secrets.os, "environ", {})
    assert set(secrets.own_secrets()) == set(expected)
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    monkeypatch.setattr(secrets, "settings", SimpleNamespace())
    monkeypatch.setattr(secrets.os, "environ", texts)
    assert set(secrets.own_secrets()) == set(expected if texts else ())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('relation "x" does not exist', None),
        ("no such table: x", None),
        ("no such column: accounts_user.x", None),
        ('null value in column "x" of relation "y" violates not-null constraint', None),
        ('duplicate key value violates unique constraint "x"', None),
        ('column "x" of relation "y" does not exist', None),
        (
            'connection to server at "db.example", port 5432 failed: FATAL:  password '
            'authentication failed for user "shop"',
            None,
        ),
        (
            'connection to server at "[REDACTED_IP]" failed: database "x" does not exist',
            None,
        ),
        ("(1146, \"Table 'shop.x' doesn't exist\")", None),
        ("UNIQUE constraint failed: a.b", None),
        ('column "x1" does not exist', "column [Filtered] does not exist"),
        ("no such column: x1", "no such column: [Filtered]"),
        ("value out of range: 1980-13-01", "value out of range: [Filtered]"),
        ('value "x1" is out of range', "value [Filtered] is out of range"),
        ('invalid value "x1" for "Mon"', "invalid value [Filtered]"),
        ("CHECK constraint failed: a<>'x1'", "CHECK constraint failed: a<>[Filtered]"),
        ("malformed MATCH expression: [(x1]", "malformed MATCH expression: [Filtered]"),
        ("JSON path error near 'x1'", "JSON path error near [Filtered]"),
        ("syntaxe invalide : « x1 »", "syntaxe invalide : [Filtered]"),
        ("ungültig: „x1“", "ungültig: [Filtered]"),
        ('неверный: "x1" и "x2"', "неверный: [Filtered]"),
        ('type integer: "x1', "type integer: [Filtered]"),
        (
            "(1062, \"Duplicate entry 'x1' for key 'email'\")",
            "(1062, \"Duplicate entry '[Filtered]' for key 'email'\")",
        ),
    ],
)
def test_the_message_of_a_database_keeps_names_and_loses_values(message, expected):
    assert without_quoted(REDACTOR.text(message)) == (expected or message)


def test_a_cut_splits_no_secret():
    own = "own secret with spaces"
    redactor = Redactor(Policy(), [own])
    for secret in (own, "4111 1111 1111 1111", "password='two words'"):
        for start in range(patterns.MAX_LENGTH - 60, patterns.MAX_LENGTH + 20):
            text = redactor.text("x " * (start // 2) + secret + " tail" * 500)
            assert len(text) <= patterns.MAX_LENGTH
            assert "own" not in text and "4111" not in text and "two" not in text
