"""What a credential looks like in text, and how it is taken out.

Every expression is linear in the length of the text: no repetition without a bound is
followed by something it could have matched itself.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import quote

from .names import is_sensitive

FILTERED = "[Filtered]"
TOKEN = "[REDACTED_TOKEN]"  # noqa: S105

# Text of these letters alone, shorter than any token, holds nothing to look for.
_HARMLESS = re.compile(r"[A-Za-z_ .,<>()/-]{0,63}")
_BEARER = re.compile(r"\b(bearer|basic)\b", re.I)

_LONG = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_HEADER_LINE = re.compile(
    r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s*[:=]\s*)[^\r\n]{1,8192}""",
    re.I,
)
_SCHEME = re.compile(r"\b(bearer|basic|digest|token)\s{1,8}([\w.~+/=:-]{4,})", re.I)
_ASSIGNMENT = re.compile(
    r"""(?P<name>[A-Za-z_][\w.-]{0,63})
    (?P<separator>\\*["']?\]?\s{0,8}(?:=>|[:=]{1,2}|%3[AaDd]|(?<=["']),)\s{0,8})
    (?P<value>
        \\+(?P<escaped>["'])(?:(?!\\+["'])[\s\S]){0,8192}
      | [bfru]{0,2}"(?:[^"\\]|\\.){0,8192}"?
      | [bfru]{0,2}'(?:[^'\\]|\\.){0,8192}'?
      | [^\s,;&"'(){}\[\]<>\\]+
    )""",
    re.X | re.S,
)
_QUERY = re.compile(r"(?<=[\w/.%-])\?(?=[\w%.\[\]-]{1,64}=)[^\s\"'<>`)\]}]+")
_CARD = re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{4,39}(?:\.\d{1,3}){0,3}(?![\w:])")

_SUBSTITUTIONS = [
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        # A private key, up to its end or that of the text.
        (
            r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)",
            re.S,
            "[REDACTED_KEY]",
        ),
        # user:password@ in a URL, DSNs among them.
        (r"\b([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@\"'<>]{1,512}@", 0, r"\1[Filtered]@"),
        # JSON Web Tokens
        (r"\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*){0,3}", 0, TOKEN),
        # Addresses where secrets are part of the path: Slack, Discord, Telegram.
        (r"(hooks\.slack\.com/)[\w/.-]+", 0, r"\1[Filtered]"),
        (r"(discord(?:app)?\.com/api/webhooks/)[\w/.-]+", 0, r"\1[Filtered]"),
        (r"\b(?:bot)?\d{8,10}:[\w-]{35}\b", 0, TOKEN),
        # Vendors' prefixes: Stripe, GitHub, GitLab, Slack, AWS, Google, SendGrid, OpenAI,
        # Anthropic, npm, PyPI, DigitalOcean, Shopify, Sentry, Hugging Face, Twilio, ...
        (
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
        (r"\b(?:pbkdf2_sha\d+|scrypt|bcrypt(?:_sha256)?|md5)\$\S{8,}", 0, TOKEN),
        (r"\$(?:argon2\w{1,2}|2[aby]|[156y])\$[\w./$=,+-]{8,}", 0, TOKEN),
        # Database errors quote the values they refuse.
        (r"(\bKey \([^)]{1,256}\)=)\(.{0,4096}?\)(?= (?:already|is |conflicts)|$)", re.M, r"\1([Filtered])"),
        (r"(\bFailing row contains )[^\r\n]{0,8192}", 0, r"\1([Filtered])."),
        (r"(\binvalid input (?:syntax|value) for [\w ]{1,64}: ).[^\r\n]{0,8192}", 0, r"\1[Filtered]"),
        (r"(\bLINE \d{1,6}: )[^\r\n]{0,8192}", 0, r"\1[Filtered]"),
        (r"(\bDuplicate entry )'[^\r\n]{0,4096}?'(?= for key)", 0, r"\1'[Filtered]'"),
        # E-mail and IPv4 addresses; 1.2.3.4 after a letter or a `v` is a version.
        (r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", 0, "[REDACTED_EMAIL]"),
        (
            r"(?<![\w.-])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.]*\d)",
            0,
            "[REDACTED_IP]",
        ),
    )
]  # fmt: skip

_SQL_LITERALS = re.compile(
    r"""/\*.*?(?:\*/|\Z) | --[^\r\n]*           # comments
      | \$(\w{0,20})\$.*?(?:\$\1\$|\Z)          # dollar quotes
      | [bBeEnNxX]?'(?:[^'\\]|''|\\.)*(?:'|\Z)  # strings
      | "(?:[^"]|"")*(?:"|\Z)                   # identifiers, or strings in SQLite
      | (?<![\w$"])[-+]?(?:0x[0-9a-f]+|\d[\d_.]*(?:e[-+]?\d+)?)  # numbers
    """,
    re.X | re.S | re.I,
)
_IDENTIFIER = re.compile(r'"[a-z_][a-z_0-9]{0,63}"', re.I)

# A part of a path that says nothing of a person: words, short numbers, versions.
_PLAIN_SEGMENT = re.compile(
    r"(?:\d{1,6}|v\d{1,3}|[A-Za-z]{1,20}(?:[-_.](?:[A-Za-z]{1,20}|\d{1,4})){0,8})?"
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
        self._short_text = lru_cache(maxsize=4096)(self._redact)

    def is_sensitive(self, name):
        return is_sensitive(name, self.policy.sensitive_names)

    def text(self, text):
        """Return `text` without what looks like a credential or personal data."""
        return self._short_text(text) if len(text) < 256 else self._redact(text)

    def _redact(self, text):
        for expression in self.own:
            text = expression.sub(FILTERED, text)
        if _HARMLESS.fullmatch(text) and not _BEARER.search(text):
            return text
        text = _HEADER_LINE.sub(rf"\1\2{FILTERED}", text)
        for expression, replacement in _SUBSTITUTIONS:
            text = expression.sub(replacement, text)
        text = _LONG.sub(_without_token, text)
        text = _SCHEME.sub(_without_credential, text)
        text = _ASSIGNMENT.sub(self._without_value, text)
        text = _QUERY.sub(self._without_query, text)
        text = _CARD.sub(_without_card, text)
        return _IPV6.sub(_without_ipv6, text)

    def _without_value(self, match):
        name, value = match["name"], match["value"]
        if not self.is_sensitive(name) or value.startswith("["):
            return match[0]
        # A value in quotes keeps them, so that the text around it stays readable.
        quoted = re.match(r"\\*[bfru]{0,2}[\"']", value)
        if not quoted:
            return f"{name}{match['separator']}{FILTERED}"
        end = value[-1] if value[-1] in "\"'" and not match["escaped"] else ""
        return f"{name}{match['separator']}{quoted[0]}{FILTERED}{end}"

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
        are replaced; without, each part that is not a plain word or short number.
        """
        if match is None:
            return "/".join(
                part if _PLAIN_SEGMENT.fullmatch(part) else FILTERED
                for part in path.split("/")
            )
        for name, value in match.captured_kwargs.items():
            if self.is_sensitive(name):
                for form in {str(value), quote(str(value))} - {""}:
                    path = path.replace(form, FILTERED)
        return self.text(path)

    def sql(self, statement):
        """Return the statement's shape: names and keywords, `?` for each literal."""
        return self.text(_SQL_LITERALS.sub(_without_literal, statement))


def bounded(secret):
    """Return a pattern of the secret; a short one must stand alone, not in a word."""
    pattern = re.escape(secret)
    return pattern if len(secret) >= 12 else rf"(?<![^\W_]){pattern}(?![^\W_])"


def _without_literal(match):
    text = match[0]
    if text.startswith(("/*", "--")):
        return ""
    return text if _IDENTIFIER.fullmatch(text) else "?"


def _without_credential(match):
    scheme, credential = match.groups()
    # "Basic training" and "token expired" are words.
    word = credential.rstrip(".:").isalpha() and credential[1:].islower()
    certain = scheme.lower() == "bearer" and scheme[0] == "B"
    return match[0] if word and not certain else f"{scheme} {FILTERED}"


def _without_token(match):
    text = match[0]
    if "/" in text:
        # A token in base64 has a slash now and then; a path has words between many.
        longest = max(text.split("/"), key=len)
        if len(longest) < 24 or not re.search(r"\d", longest):
            return text
    return TOKEN


def _without_card(match):
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    # https://en.wikipedia.org/wiki/Luhn_algorithm
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return match[0] if (sum(digits[::-2]) + sum(doubled)) % 10 else "[REDACTED_CARD]"


def _without_ipv6(match):
    text = match[0]
    if text.count(":") < 2 or not re.search(r"[0-9A-Fa-f]{2}", text):
        return text
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return text
    return "[REDACTED_IP]"
