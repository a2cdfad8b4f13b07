"""What a credential looks like in text, and how it is taken out.

Every expression is linear in the length of the text: a repetition of what could follow
it is bounded, gives nothing back (`++`), or takes the rest of the text.
"""

import ipaddress
import re
from functools import cache, lru_cache, partial
from urllib.parse import quote

from .names import is_sensitive

FILTERED = "[Filtered]"
TOKEN = "[REDACTED_TOKEN]"  # noqa: S105

# Characters. Longer texts are cut, so that the cost of one is bounded.
MAX_LENGTH = 8192
MAX_SQL_LENGTH = 32_768

# What the SDK makes for every span: ids, and times in UTC.
_ID_OR_TIME = re.compile(
    r"(?=\d*[a-f])(?:[0-9a-f]{16}|[0-9a-f]{32})|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
)
# Words alone, each shorter than any token, hold nothing to look for ...
_HARMLESS = re.compile(r"(?:[A-Za-z_]{0,15}[ .,<>()/-])*+[A-Za-z_]{0,15}")
# ... but for these.
_SUSPICIOUS = re.compile(r"bearer|basic|digest|token|failing row|[a-z/_-]{64}", re.I)

_LONG = re.compile(r"[A-Za-z0-9+/_-]{64,}+={0,2}")
_HEADER_LINE = re.compile(
    r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s{0,8}[:=]\s{0,8})
    [^\r\n]{1,8192}""",
    re.I | re.X,
)
_SCHEME = re.compile(r"\b(bearer|basic|digest|token)\s{1,8}([\w.~+/=:-]{4,})", re.I)
_NAME = re.compile(
    r"""(?<![\w.-])(?P<name>[\w.-]++)
    (?P<separator>\\*+["']?\]?\s{0,8}(?:=>|[:=]{1,2}|%3[AaDd]|(?<=["']),)\s{0,8})""",
    re.X,
)
_QUOTED = r"""
    \\+(?P<escaped>["'])(?:(?!\\+["'])[\s\S]){0,8192}+
  | [bfru]{0,2}"(?:[^"\\]|\\.){0,8192}+"?
  | [bfru]{0,2}'(?:[^'\\]|\\.){0,8192}+'?
"""
# Punctuation ends a value if a space, a quote, more punctuation or a name comes next.
_VALUE = re.compile(
    rf"""{_QUOTED}
  | [\[({{][^\])}}]{{0,8192}}+[\])}}]?
  | (?:[^\s"',;&<>(){{}}\[\]\\]
      |["',;&<>(){{}}\[\]\\](?![\s"',;&<>(){{}}\[\]\\]|$|[\w.-]{{1,64}}[=:]))++""",
    re.X | re.S,
)
# In source code, what is not quoted is an expression.
_LITERAL = re.compile(rf"{_QUOTED} | \d[\w.]*+", re.X | re.S)
_NO_SECRET = re.compile(
    r"\[(?:Filtered|REDACTED_[A-Z]{2,8})\]|None|null|True|true|False|false|\"\"|''"
)
_QUERY = re.compile(
    r"(?<=[\w/.%-])\?(?=[\w%.\[\]-]{1,64}=)[^\s\"'<>`]*[^\s\"'<>`)\]},.;]"
)
_CARD = re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}+(?![\w-])")
# Digits in a card number, by its first: https://en.wikipedia.org/wiki/Payment_card_number
_CARD_LENGTHS = {"2": (16,), "3": (14, 15, 16), "4": (13, 16, 19), "5": (16,)}
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{4,39}(?:\.\d{1,3}){0,3}(?![\w:])")

# A literal in every match, looked for first since that is much faster; the pattern,
# compiled when it is needed; its flags; what replaces it.
_SUBSTITUTIONS = (
    # A private key, up to its end or that of the text.
    ("-----BEGIN", r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.S, "[REDACTED_KEY]"),
    # user:password@ in a URL, DSNs among them.
    ("://", r"\b([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@\"'<>]{1,512}@", 0, r"\1[Filtered]@"),
    # JSON Web Tokens
    ("eyJ", r"(?<![\w-])(?=(?:[\w-]*[_-])?eyJ)[\w-]{8,}+\.[\w-]{5,}+(?:\.[\w-]*+){0,3}", 0, TOKEN),
    # Addresses where secrets are part of the path: Slack, Discord, Telegram.
    ("hooks.slack.com/", r"(hooks\.slack\.com/)[\w/.-]+", 0, r"\1[Filtered]"),
    ("/api/webhooks/", r"(discord(?:app)?\.com/api/webhooks/)[\w/.-]+", 0, r"\1[Filtered]"),
    (":", r"\b(?:bot)?\d{8,10}:[\w-]{35}\b", 0, TOKEN),
    # Vendors' prefixes: Stripe, GitHub, GitLab, Slack, AWS, Google, SendGrid, OpenAI,
    # Anthropic, npm, PyPI, DigitalOcean, Shopify, Sentry, Hugging Face, Twilio, ...
    (
        "",
        r"\b(?:[spr]k_(?:live|test)_\w{8,}|whsec_\w{8,}|gh[pousr]_\w{16,}"
        r"|github_pat_\w{16,}|gl[a-z]{2,6}-[\w-]{16,}|xox[a-z]-[\w-]{8,}"
        r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}|AIza[\w-]{30,}|ya29\.[\w-]{10,}"
        r"|GOCSPX-[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}|sk-[\w-]{16,}|npm_\w{16,}"
        r"|pypi-[\w-]{16,}|do[op]_v1_\w{16,}|shp[a-z]{2}_\w{16,}|sntry[a-z]_[\w=+/-]{16,}"
        r"|hf_\w{16,}|(?:AC|SK)[0-9a-f]{32}|key-[0-9a-f]{32}|rnd_\w{16,}"
        r"|dckr_pat_[\w-]{16,}|hvs\.[\w-]{16,}|lin_api_\w{16,}|sq0[a-z]{3}-[\w-]{16,}"
        r"|EAA[A-Za-z0-9]{32,}|glsa_\w{16,}|NRAK-\w{16,}|age-secret-key-\w{16,})",
        re.I,
        TOKEN,
    ),
    # Password hashes, Django's and others'.
    ("$", r"\b(?:pbkdf2_sha\d+|scrypt|bcrypt(?:_sha256)?|md5)\$\S{8,}", 0, TOKEN),
    ("$", r"\$(?:argon2\w{1,2}|2[aby]|[156y])\$[\w./$=,+-]{8,}", 0, TOKEN),
    # What database servers quote: PostgreSQL's details in any language, MySQL, SQLite.
    # Where the end of a value is not to be seen, the rest of the text goes.
    ("DETAIL:", r"(\bDETAIL:  [^(\n]*+(?:\([^()]*\)=)?)\([\s\S]*", 0, r"\1([Filtered])"),
    ("Key (", r"(\bKey \([^()]*\)=)\([\s\S]*?(?:\)(?= (?:already|is |conflicts))|\Z)", 0, r"\1([Filtered])"),
    ("Failing row", r"(\bFailing row contains )[\s\S]*", 0, r"\1([Filtered])."),
    (":  ", r"(\b(?:CONTEXT|QUERY|STATEMENT):  )[\s\S]*", 0, r"\1[Filtered]"),
    ("LINE ", r"(\bLINE \d{1,6}: )[^\r\n]*", 0, r"\1[Filtered]"),
    ("invalid input", r"(\binvalid input (?:syntax|value) for [\w ]{1,64}: )[^\r\n]*", 0, r"\1[Filtered]"),
    ("Duplicate entry", r"(\bDuplicate entry )'[\s\S]*?(?:'(?= for key)|\Z)", 0, r"\1'[Filtered]'"),
    ("ncorrect ", r"(\b[Ii]ncorrect [\w ]{1,32} value: )'[\s\S]*?(?:'(?= for )|\Z)", 0, r"\1'[Filtered]'"),
    ("syntax to use", r"(\bsyntax to use near )'[\s\S]*?(?:'(?= at line)|\Z)", 0, r"\1'[Filtered]'"),
    ('near "', r'(\bnear )"[\s\S]*?(?:"(?=: syntax error|\s)|\Z)', 0, r'\1"[Filtered]"'),
    ("unrecognized token", r'(\bunrecognized token: )"[\s\S]*', 0, r'\1"[Filtered]"'),
    # What Python and Django quote.
    ("invalid literal", r"(\binvalid literal for int\(\) with base \d{1,2}: )[\s\S]*", 0, r"\1[Filtered]"),
    ("could not convert", r"(\bcould not convert string to \w{1,16}: )[\s\S]*", 0, r"\1[Filtered]"),
    ("isoformat", r"(\bInvalid isoformat string: )[\s\S]*", 0, r"\1[Filtered]"),
    ("time data", r"(\btime data )['\"][\s\S]*?(?:(?= does not match format)|\Z)", 0, r"\1[Filtered]"),
    ("but got ", r"(\bField '\w{1,64}' expected [\w ]{1,32} but got )[\s\S]*", 0, r"\1[Filtered]"),
    ("“", r"“[^“”]*+”(?= (?:value|is not|must))", 0, "“[Filtered]”"),
    ("HTTP_HOST", r"(\bInvalid HTTP_HOST header: )'[^'\n]*'?", 0, r"\1'[Filtered]'"),
    # E-mail and IPv4 addresses; 1.2.3.4 after a letter or a `v` is a version.
    ("@", r"(?<![\w.+%-])[\w.+%-]++@[\w-]++(?:\.[\w-]++)++", 0, "[REDACTED_EMAIL]"),
    (
        ".",
        r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.]*\d)",
        0,
        "[REDACTED_IP]",
    ),
)  # fmt: skip

_SQL_LITERALS = re.compile(
    r"""(?P<comment>/\*.*?(?:\*/|\Z) | --[^\r\n]*+ | (?<=\s)\#\s[^\r\n]*+)
      | (?P<names>\bINTO\s+["`]?[\w.]+["`]?\s*\([\s\w"`,]*+\) | \$\d{1,3}(?![\d$]))
      | (?<=ESCAPE\s)'\\'
      | \$(\w{0,20})\$.*?(?:\$\3\$|\Z)
      # Whether a backslash escapes a quote depends on the server: to the end, then.
      | [bBeEnNxX]?'(?:[^'\\]|''|\\[^'])*+(?:'|\\'.*\Z|\\?\Z)
      | (?P<quoted>"(?:[^"]|"")*+(?:"|\Z))
      | (?<!\w)[-+]?(?:0x[0-9a-f]+|\.?\d[\d_.]*+(?:e[-+]?\d+)?)
    """,
    re.X | re.S | re.I,
)
# In double quotes, SQLite and MySQL take texts, too. A name stands beside a dot, after
# one of these words or before a comparison.
_IDENTIFIER = re.compile(r'"[a-z_][a-z_0-9]{0,63}"', re.I)
_BEFORE_IDENTIFIER = re.compile(
    r"(?:\.|\b(?:AS|FROM|JOIN|INTO|UPDATE|TABLE|INDEX|CONSTRAINT|BY|SET|ON)\s+)\Z", re.I
)
_AFTER_IDENTIFIER = re.compile(r"\.|\s*(?:[=<>!]|(?:IS|IN|NOT|LIKE|BETWEEN)\b)", re.I)

# A part of a path that says nothing of a person: words, short numbers, versions, and
# an argument in a route.
_PLAIN_SEGMENT = re.compile(
    r"(?:\d{1,6}|v\d{1,3}|[A-Za-z]{1,20}(?:[-_.](?:[A-Za-z]{1,20}|\d{1,4})){0,8}"
    r"|[<{][A-Za-z_:]{1,64}[>}])?"
)
_REQUEST = re.compile(
    r"(<(?:WSGI|ASGI)Request: )\w{1,32} (?:'([^'\n]*)'|\"([^\"\n]*)\")>"
)


class Redactor:
    """Takes secrets out of text, paths and SQL.

    policy: the project's `Policy`.
    secrets: values to look for, as `secrets.own_secrets` returns them.
    """

    def __init__(self, policy, secrets=()):
        self.policy = policy
        self.own = [re.compile(pattern) for pattern in policy.patterns]
        if secrets:
            self.own.insert(0, re.compile("|".join(map(bounded, secrets))))
        # The same names, lines and statements come again and again.
        cached = lru_cache(maxsize=4096)
        self._short_text = cached(self._redact)
        self._short_source = cached(partial(self._redact, value=_LITERAL))
        self._short_sql = lru_cache(maxsize=1024)(self._shape)

    def is_sensitive(self, name):
        return is_sensitive(name, self.policy.sensitive_names)

    def text(self, text):
        """Return `text` without what looks like a credential or personal data."""
        if len(text) < 256:
            return self._short_text(text)
        if len(text) > MAX_LENGTH:
            # Half a token would not be recognised.
            words = text[:MAX_LENGTH].rsplit(maxsplit=1)
            text = f"{words[0] if len(words) > 1 else ''} ..."
        return self._redact(text)

    def source(self, line):
        """Return a line of source code without literals that look like a secret."""
        return self._short_source(line) if len(line) < 256 else self.text(line)

    def _redact(self, text, value=_VALUE):
        text = self._without_own(text)
        if _ID_OR_TIME.fullmatch(text):
            return text
        if _HARMLESS.fullmatch(text) and not _SUSPICIOUS.search(text):
            return text
        text = _HEADER_LINE.sub(rf"\1\2{FILTERED}", text)
        text = _REQUEST.sub(self._without_path, text)
        text = _without_tokens(text)
        text = _SCHEME.sub(_without_credential, text)
        text = self._without_values(text, value)
        text = _QUERY.sub(self._without_query, text)
        text = _CARD.sub(_without_card, text)
        return _IPV6.sub(_without_ipv6, text)

    def _without_own(self, text):
        for expression in self.own:
            text = expression.sub(FILTERED, text)
        return text

    def _without_values(self, text, value):
        """Replace what follows `password=`, `"token": ` and the like."""
        kept = []
        start = position = 0
        while name := _NAME.search(text, position):
            position = name.end()
            if not self.is_sensitive(name["name"]):
                continue
            found = value.match(text, position)
            if not found or _NO_SECRET.fullmatch(found[0]):
                continue
            # A value in quotes keeps them, so that the text around stays readable.
            opening = re.match(r"\\*[bfru]{0,2}[\"']|", found[0])[0]
            mark = opening[-1:]
            closed = found[0][len(opening) :].endswith(mark) and not found["escaped"]
            kept += [text[start:position], opening, FILTERED, mark if closed else ""]
            start = position = found.end()
        return "".join([*kept, text[start:]])

    def _without_path(self, match):
        path, _, _ = (match[2] or match[3] or "").partition("?")
        return f"{match[1]}{self.path(path)}>"

    def _without_query(self, match):
        return "?" + self.query(match[0][1:])

    def query(self, query):
        """Keep the parameters that the policy allows."""
        allowed = self.policy.allowed_query_params
        parts = query.split("&")
        kept = [part for part in parts if part.partition("=")[0].lower() in allowed]
        return "&".join(kept + [FILTERED] * (len(kept) < len(parts)))

    def path(self, path, match=None):
        """Return a URL's path without what is secret in it.

        match: the `ResolverMatch` of the path. With one, arguments named like a secret
        or not named are replaced; without, and in strict mode, each part that is not a
        plain word or short number.
        """
        if match is None or self.policy.strict:
            return self.text(plain_path(path))
        for name, value in match.kwargs.items():
            if self.is_sensitive(name):
                forms = {str(value), quote(str(value))} - {""}
                if not any(form in path for form in forms):
                    return self.path(path)  # A converter made something else of it.
                for form in forms:
                    path = path.replace(form, FILTERED)
        for value in filter(None, match.args):
            path = path.replace(str(value), plain_path(str(value)))
        return self.text(path)

    def sql(self, statement):
        """Return the statement's shape: names and keywords, `?` for each literal."""
        if len(statement) < 2048:
            return self._short_sql(statement)
        return self._shape(statement[:MAX_SQL_LENGTH])

    def _shape(self, statement):
        shape = _SQL_LITERALS.sub(_without_literal, statement)[:MAX_LENGTH]
        # Not `text`: without literals, `"password" = ` is a name and no value follows.
        return _without_tokens(self._without_own(shape))


def plain_path(path):
    if "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return "/".join(
        part if _PLAIN_SEGMENT.fullmatch(part) else FILTERED for part in path.split("/")
    )


def bounded(secret):
    """Return a pattern of the secret; a short one must stand alone, not in a word."""
    pattern = re.escape(secret)
    return pattern if len(secret) >= 12 else rf"(?<![^\W_]){pattern}(?![^\W_])"


_compiled = cache(re.compile)


def _without_tokens(text):
    for needle, pattern, flags, replacement in _SUBSTITUTIONS:
        if needle in text:
            text = _compiled(pattern, flags).sub(replacement, text)
    return _LONG.sub(_without_token, text)


def _without_literal(match):
    if match["comment"]:
        return ""
    if match["names"]:
        return match[0]
    if match["quoted"] and _IDENTIFIER.fullmatch(match[0]):
        statement, start = match.string, match.start()
        before = statement[max(0, start - 16) : start]
        if _BEFORE_IDENTIFIER.search(before) or _AFTER_IDENTIFIER.match(
            statement, match.end()
        ):
            return match[0]
    return "?"


def _without_credential(match):
    scheme, credential = match.groups()
    # "Basic training" and "token expired" are words.
    word = credential.rstrip(".:").isalpha() and credential[1:].islower()
    certain = scheme.lower() == "bearer" and scheme[0] == "B"
    return match[0] if word and not certain else f"{scheme} {FILTERED}"


def _without_token(match):
    text = match[0]
    if not re.search(r"[A-Za-z0-9]", text):
        return text  # A line drawn across the page.
    if "/" in text:
        # A token in base64 has a slash now and then, and capitals beside digits; a path
        # has words between many.
        parts = text.split("/")
        mixed = any(re.search(r"\d", p) and re.search(r".[A-Z]", p) for p in parts)
        longest = max(parts, key=len)
        words = len(longest) < 24 or not re.search(r"\d", longest)
        if words and not mixed and len(longest) < 64:
            return text
    return TOKEN


def _without_card(match):
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    if len(digits) not in _CARD_LENGTHS.get(match[0][0], range(16, 20)):
        return match[0]
    # https://en.wikipedia.org/wiki/Luhn_algorithm
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return match[0] if (sum(digits[::-2]) + sum(doubled)) % 10 else "[REDACTED_CARD]"


def _without_ipv6(match):
    text = match[0]
    if text.count(":") < 2 or not re.search(r"[0-9A-Fa-f]{3}", text):
        return text  # A time.
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return text
    return "[REDACTED_IP]"
