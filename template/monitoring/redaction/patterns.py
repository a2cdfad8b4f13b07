"""What a credential looks like in text, and how it is taken out.

Every expression is linear in the length of the text: a repetition of what could follow
it is bounded, gives nothing back (`++`), or takes the rest of the text.
"""

import html
import ipaddress
import json
import re
from functools import cache, lru_cache, partial
from urllib.parse import quote

from .names import is_sensitive

FILTERED = "[Filtered]"
TOKEN = "[REDACTED_TOKEN]"  # noqa: S105

# Characters. Longer texts are cut, so that the cost of one is bounded ...
MAX_LENGTH = 8192
MAX_SQL_LENGTH = 32_768
# ... after so many more were searched: half a secret would not be recognised.
OVERLAP = 512


class Expression:
    """A regular expression, compiled when it is first used: a start uses none."""

    def __init__(self, pattern, flags=0):
        self.pattern = pattern
        self.flags = flags

    def __getattr__(self, name):
        method = getattr(re.compile(self.pattern, self.flags), name)
        setattr(self, name, method)
        return method


# What the SDK makes for every span: ids, and times in UTC.
_ID_OR_TIME = Expression(
    r"(?=\d*[a-f])(?:[0-9a-f]{16}|[0-9a-f]{32})|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
)
# Words alone, each shorter than any token, hold nothing to look for ...
_HARMLESS = Expression(r"(?:[A-Za-z_]{0,15}[ .,<>()/-])*+[A-Za-z_]{0,15}")
# ... but for these.
_SUSPICIOUS = Expression(r"bearer|basic|digest|token|failing row|[a-z/_-]{64}", re.I)


def _escaped(skip):
    r"""Return a pattern: `skip` characters ago, an escaped one ended.

    `\n`, `%20`, `\u003d` or the colour of a terminal. A pattern that begins with one of
    few characters is fast: what must stand before them, it looks for afterwards.
    """
    ends = (r"\\[nrt]", "%[0-9A-Fa-f]{2}", r"\\u[0-9A-Fa-f]{4}", r"\[\dm", r"\[\d\dm")
    return "|".join(f"(?<={end}.{{{skip}}})" for end in ends)


# Where a word may begin, in ASCII; the second, where one began a character ago.
_EDGE = rf"(?:(?<![A-Za-z0-9])|{_escaped(0)})"
_EDGE_1 = rf"(?:(?<![A-Za-z0-9].)|{_escaped(1)})"

_LONG = Expression(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{64,}+={0,2}")
# ASCII without what holds data together: spaces, quotes, commas and most brackets.
_DENSE = Expression(r"(?<![!#-&(-+\--:=?-Z^-z|~])[!#-&(-+\--:=?-Z^-z|~]{64,}+")
# What a path or an address is made of, an id and a hash among that.
_PIECE = Expression(
    r"""(?:[-_./:=&]|(?:%[0-9A-F]{2}){1,4})?
    (?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{7,}|[A-Z]?[a-z]+|[A-Z]+|\d+)
    | [^A-Za-z\d]""",
    re.X,
)
_HEADER_LINE = Expression(
    r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(["']?\s{0,8}[:=]\s{0,8})
    [^\r\n]{1,8192}""",
    re.I | re.X,
)
_SCHEME = Expression(
    rf"""([BbDdTt]{_EDGE_1}(?i:earer|asic|igest|oken))(?:\s|%20){{1,8}}+
    ((?:[\w.-]{{1,64}},\s)?\w{{1,32}}="[^\r\n]+ | ["'<]?[\w.~+/=:|-]{{4,}})""",
    re.X,
)
# Quotes in URLs, HTML and JavaScript.
_FOREIGN_QUOTE = r"%2[27]|&quot;|&\#(?:3[49]|x2[27]);|\\+u002[27]"
_NAME = Expression(
    rf"""(?:(?<![\w.-])|(?<=%[0-9A-Fa-f]{{2}}))(?P<name>[\w.-]++)
    (?:{_FOREIGN_QUOTE}|\\*+["']{{0,2}})(?:\]|\[\d{{0,8}}\])?\s{{0,64}}+
    (?:=>|!?={{1,3}}|:[:=]?|%3[AaDd]|(?<=["']),(?:\s{{0,8}}["']value["']:)?)\s{{0,64}}+""",
    re.X,
)
_QUOTED = rf"""
    (?P<triple>\"{{3}}|'{{3}})[\s\S]*?(?:(?P=triple)|\Z)
  | (?P<escaped>\\+["']|{_FOREIGN_QUOTE})
    (?:(?!(?P=escaped)|\\+["'])[\s\S]){{0,8192}}+
  | [bfru]{{0,2}}""(?=[\w+/.~!@#$%^*-])[^"]{{0,8192}}+"{{0,2}}
  | [bfru]{{0,2}}"(?:[^"\\]|\\.){{0,8192}}+"?
  | [bfru]{{0,2}}'(?:[^'\\]|\\.){{0,8192}}+'?
"""
# Brackets in brackets in brackets.
_FLAT = r"[\[({][^\[\](){}]*+[\])}]?"
_NESTED = rf"[\[({{](?:[^\[\](){{}}]|{_FLAT})*+[\])}}]?"
# Punctuation ends a value if a space, a quote, more punctuation or a name comes next.
_VALUE = Expression(
    rf"""{_QUOTED}
  | [\[({{](?:[^\[\](){{}}]|{_NESTED})*+[\])}}]?
  | <[^>]{{0,8192}}+>?
  | [|>][+-]?[ \t]*\n(?:[ \t]+[^\n]*\n?)++
  | (?:[^\s"',;&<>(){{}}\[\]\\]
      |["',;&<>(){{}}\[\]\\](?![\s"',;&<>(){{}}\[\]\\]|$|[\w.-]{{1,64}}[=:]))++""",
    re.X | re.S,
)
# The words of a line of Python, and all between them.
_PYTHON = Expression(
    r"""(?P<string>[bfruBFRU]{0,2}(?:\"{3}.*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)
      |"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?))
  | (?P<comment>\#.*) | (?P<name>[^\W\d][\w.]*+) | (?P<number>\d[\w.]*+)
  | (?P<space>\s++) | (?P<mark>!?={1,2}|:=?) | .""",
    re.X | re.S,
)
_LITERAL = Expression(r"([bfru]{0,2}(\"{3}|'{3}|\"|'))(.*?)(\2|\Z)", re.I | re.S)
_NO_SECRET = Expression(
    # Among others, what Django calls its checks and migrations, and a place for a value.
    r"\[(?:Filtered|REDACTED_[A-Z]{2,8})\]|None|null|True|true|False|false|\"\"|''"
    r"|\(\w+\.[CDEIW]\d{3}\)|[\"']0\d{3}_[a-z_]{1,64}[\"']"
    r"|([\"']?)%(?:\(\w{1,64}\))?[drs]\1"
)
# The same in a text of source code, where a value can be put in later.
_EXPRESSION = Expression(rf"{_NO_SECRET.pattern}|\{{[\w.()\[\], !:<>^+-]*+\}}")
_QUERY = Expression(
    r"(?<=[\w/.%-])\?(?=[\w%.\[\]-]{1,64}=)[^\s\"'<>`]*(?:[^\s\"'<>`)\]},.;]|(?<=\[Filtered)\])"
)
# In a row, or in the groups on the card.
_CARD = Expression(
    rf"""[2-6]\d{{3}}(?:
    (?:(?<![0-9A-Fa-f%].{{4}})(?<!%[0-9A-Fa-f].{{4}})(?<!\d\..{{4}})|(?<=[Cc]ard.{{4}})|{_escaped(4)})
      \d{{9,15}}(?![0-9a-f])
  | (?:(?<![A-Za-z0-9.-].{{4}})|{_escaped(4)})
      (?:(?P<gap>[ .\u00a0-])\d{{4}}(?P=gap)\d{{4}}(?P=gap)\d{{1,7}}|[ -]\d{{6}}[ -]\d{{4,5}})
      (?![A-Za-z0-9]|[-.]\d))""",
    re.X,
)
# Digits in a card number, by its first: https://en.wikipedia.org/wiki/Payment_card_number
_CARD_LENGTHS = {"2": (16,), "3": (14, 15, 16), "4": (13, 16, 19), "5": (16,)}
_IPV6 = Expression(
    rf"[0-9A-Fa-f:](?:(?<![0-9A-Fa-f:.%].)(?<!%[0-9A-Fa-f].)(?<!\\u.)|{_escaped(1)})"
    r"[0-9A-Fa-f:]{3,44}+(?:\.\d{1,3}){0,3}(?![G-Zg-z_])"
)

# A literal in every match, looked for first since that is much faster; the pattern,
# compiled when it is needed; its flags; what replaces it.
_SUBSTITUTIONS = (
    # A private key, up to its end or that of the text.
    ("-----BEGIN", r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.S, "[REDACTED_KEY]"),
    # user:password@ in a URL, DSNs among them.
    ("@", r"(:(?:\\?/){2})[^\s/\"'<>]{1,512}@", 0, r"\1[Filtered]@"),
    ("%40", r"(%3A%2F%2F)[^\s/\"'<>&]{1,512}%40", re.I, r"\1[Filtered]%40"),
    # JSON Web Tokens
    ("eyJ", rf"(?:(?<![A-Za-z0-9_-])|{_escaped(0)})(?=(?:[\w-]*[_-])?eyJ)[\w-]{{8,}}+\.[\w-]{{5,}}+(?:\.[\w-]*+){{0,3}}", 0, TOKEN),
    # Addresses where secrets are part of the path: Slack, Discord, Telegram.
    ("hooks.slack.com/", r"(hooks\.slack\.com/)[\w/.-]+", 0, r"\1[Filtered]"),
    ("/api/webhooks/", r"(discord(?:app)?\.com/api/webhooks/)[\w/.-]+", 0, r"\1[Filtered]"),
    (":", rf"\d(?:{_EDGE_1}|(?<=bot.))\d{{7,9}}:[\w-]{{35}}(?![A-Za-z0-9_])", 0, TOKEN),
    # Django's signed values
    (":", r"(?<![\w-])[\w-]{4,}+:[\w-]{6}:[\w-]{27,}", 0, TOKEN),
    # Vendors' prefixes: Stripe, GitHub, GitLab, Slack, AWS, Google, SendGrid, OpenAI,
    # Anthropic, npm, PyPI, DigitalOcean, Shopify, Sentry, Hugging Face, Twilio, ...; last,
    # what Django sends to reset a password.
    (
        "",
        rf"{_EDGE}(?:[spr]k_(?:live|test)_\w{{8,}}|whsec_\w{{8,}}|gh[pousr]_\w{{16,}}"
        r"|github_pat_\w{16,}|gl(?:pat|dt|rt|cbt|ptt|ft|imt|soat|agent)-[\w-]{16,}"
        r"|xox[a-z]-[\w-]{8,}|(?:A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}|(?:AC|SK)[0-9a-f]{32}"
        r"|key-[0-9a-f]{32})(?![A-Za-z0-9])|AIza[\w-]{30,}|ya29\.[\w-]{10,}"
        r"|GOCSPX-[\w-]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}"
        r"|sk-(?=[\w-]{0,32}?\w{12})[\w-]{16,}|(?:npm|hf|rnd)_[A-Za-z0-9]{16,}"
        r"|pypi-[\w-]{16,}|do[op]_v1_\w{16,}|shp[a-z]{2}_\w{16,}|sntry[a-z]_[\w=+/-]{16,}"
        r"|dckr_pat_[\w-]{16,}|hvs\.[\w-]{16,}|lin_api_\w{16,}|sq0[a-z]{3}-[\w-]{16,}"
        r"|EAA[A-Za-z0-9]{32,}|glsa_\w{16,}|NRAK-\w{16,}|AGE-SECRET-KEY-\w{16,}"
        r"|(?=[a-z]{0,5}\d)[0-9a-z]{6}-[0-9a-f]{32}(?![A-Za-z0-9-]))",
        0,
        TOKEN,
    ),
    # Password hashes, Django's and others'.
    ("$", rf"{_EDGE}(?:pbkdf2[_:]sha\d{{1,3}}(?::\d{{1,9}})?|scrypt(?::\d{{1,9}}){{0,3}}|bcrypt(?:_sha256)?|md5)\$\S{{8,}}", 0, TOKEN),
    ("$", r"\$(?:argon2\w{1,2}|2[aby]|[156y]|apr1)\$[\w./$=,+-]{8,}", 0, TOKEN),
    # What database servers quote: PostgreSQL's details in any language, MySQL, SQLite.
    # Where the end of a value is not to be seen, the rest of the text goes.
    ("DETAIL:", r"(\bDETAIL:  (?:[\w ]{1,32}\([^()]{1,256}\)=)?)[\s\S]*", 0, r"\1[Filtered]"),
    ("Key (", r"(\bKey \([^()]*\)=)\([\s\S]*?(?:\)(?= (?:already|is|conflicts)\b)|\Z)", 0, r"\1([Filtered])"),
    ("Failing row", r"(\bFailing row contains )[\s\S]*", 0, r"\1([Filtered])."),
    (":  ", r"(\b(?:CONTEXT|QUERY|STATEMENT):  )[\s\S]*", 0, r"\1[Filtered]"),
    ("LINE ", r"(\bLINE \d{1,6}: )[^\r\n]*", 0, r"\1[Filtered]"),
    (': "', r"(\b(?:invalid input (?:syntax|value) for [\w ]{1,64}|out of range|malformed [\w ]{1,32}|error in ts\w{4,6}): )\"[^\r\n]*", 0, r"\1[Filtered]"),
    ("Duplicate entry", r"(Duplicate entry )'[\s\S]*?(?:'(?= for key)|\Z)", 0, r"\1'[Filtered]'"),
    ("ncorrect ", r"(ncorrect (?:[\w ]{1,32} value|time zone): )'[\s\S]*?(?:'(?= for )|\Z)", 0, r"\1'[Filtered]'"),
    ("syntax to use", r"(\bsyntax to use near )'[\s\S]*?(?:'(?= at line)|\Z)", 0, r"\1'[Filtered]'"),
    ('": syntax error', r'(near )"[\s\S]*?(?:"(?=: syntax error)|\Z)', 0, r'\1"[Filtered]"'),
    ('or near "', r'(or near )"[\s\S]*?(?:"(?=\s)|\Z)', 0, r'\1"[Filtered]"'),
    ("unrecognized token", r'(\bunrecognized token: )"[\s\S]*', 0, r'\1"[Filtered]"'),
    # What Python and Django quote.
    ("invalid literal", r"(\binvalid literal for int\(\) with base \d{1,2}: )[\s\S]*", 0, r"\1[Filtered]"),
    ("could not convert", r"(\bcould not convert string to \w{1,16}: )[\s\S]*", 0, r"\1[Filtered]"),
    ("isoformat", r"(\bInvalid isoformat string: )[\s\S]*", 0, r"\1[Filtered]"),
    ("time data", r"(\btime data )['\"][\s\S]*?(?:(?= does not match format)|\Z)", 0, r"\1[Filtered]"),
    ("but got ", r"(\bField '\w{1,64}' expected [\w ]{1,32} but got )[\s\S]*", 0, r"\1[Filtered]"),
    ("“", r"“[^“”]*+”(?= (?:value|is not|must))", 0, "“[Filtered]”"),
    ("HTTP_HOST", r"(\bInvalid HTTP_HOST header: )'[^'\n]*'?", 0, r"\1'[Filtered]'"),
    # E-mail addresses, but not `package@1.2.3`, `logo@2x.png` and `git@host:path`.
    (
        "@",
        r"(?<![\w.+%-])(?!git@[\w.-]{1,253}:)[\w.+%-]++@(?:[\w-]{1,63}\.){1,8}"
        r"(?!(?:css|gif|jpe?g|js|png|service|svg|webp)\b)[^\W\d_]{2,63}+[\w-]*+",
        0,
        "[REDACTED_EMAIL]",
    ),
    # IPv4 addresses. After a letter or `version`, 1.2.3.4 is one.
    (
        ".",
        rf"\d(?:(?<![A-Za-z0-9.].)(?<![A-Za-z]-.)(?<!ersion .)(?<!ersion: .)|{_escaped(1)})"
        r"(?!(?<=[a-z]/.)\d{1,2}(?:\.0){3})"
        r"\d{0,2}(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}(?![A-Za-z0-9]|\.\d)",
        0,
        "[REDACTED_IP]",
    ),
)  # fmt: skip

_SQL_LITERALS = Expression(
    r"""(?P<comment>/\*(?:(?!/\*|\*/).)*+(?:\*/|/\*.*|\Z) | --[^\r\n]*+ | \#(?![>-])[^\r\n]*+)
      | (?P<names>\bINTO\s+["`]?[\w.]+["`]?\s*\([\s\w"`,]*+\) | \$\d{1,3}(?![\d$]))
      | (?<=ESCAPE\s)'\\'
      | (?<=\bIDENTIFIED\s).*
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
_IDENTIFIER = Expression(r'"[a-z_][a-z_0-9]{0,63}"', re.I)
_BEFORE_IDENTIFIER = Expression(
    r"(?:\.|\b(?:AS|FROM|JOIN|INTO|UPDATE|TABLE|INDEX|CONSTRAINT|BY|SET|ON)\s+)\Z", re.I
)
_AFTER_IDENTIFIER = Expression(r"\.|\s*(?:[=<>!]|(?:IS|IN|NOT|LIKE|BETWEEN)\b)", re.I)

# A part of a path that says nothing of a person: words, short numbers, versions, and
# an argument in a route.
_PLAIN_SEGMENT = Expression(
    r"(?:\d{1,6}|v\d{1,3}|[A-Za-z]{1,20}(?:[-_.](?:[A-Za-z]{1,20}|\d{1,4})){0,8}"
    r"|[<{][A-Za-z_:]{1,64}[>}])?"
)
_REQUEST = Expression(
    r"(<(?:WSGI|ASGI)Request: )\w{1,32} (?:'([^'\n]*)'|\"([^\"\n]*)\")>"
)


# What a database quotes is a value, unless it says that it is a name.
_QUOTED_BY_DATABASE = Expression(
    r"""(?P<kept>\b(?:relation|table|constraint|index|role|database|user|function|type
        |schema|sequence|for[ ]key|server[ ]at|host|column(?![ ]["'][^"']*["'][ ]does))[ ]
        (?:"[\w.$\[\]-]{1,64}"|'[\w.$\[\]-]{1,64}')
      | (?<=^\()\d+,[ ]["'] | ["']\[Filtered\]["'] | ["']\)\Z)
      | (?<!\w)(?:"(?:.*"|.*) | '(?:.*'|.*) | [«„“](?:.*[»“”]|.*))
      | (?<=MATCH[ ]expression:[ ])\[.*
      | (?<=no[ ]such[ ]column:[ ])\w+\Z | (?<=out[ ]of[ ]range:[ ])[\d:.-]+""",
    re.X | re.S | re.I,
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
        self._short_source = cached(partial(self._redact, source=True))
        self._short_sql = lru_cache(maxsize=1024)(self._shape)

    def is_sensitive(self, name):
        return is_sensitive(name, self.policy.sensitive_names)

    def text(self, text):
        """Return `text` without what looks like a credential or personal data."""
        if len(text) < 256:
            return self._short_text(text)
        if len(text) <= MAX_LENGTH:
            return self._redact(text)
        text = self._redact(
            self._without_own(text[: 2 * MAX_LENGTH])[: MAX_LENGTH + OVERLAP]
        )
        # At a space, and so that what is said of the cut fits, too.
        words = text[: min(MAX_LENGTH - 4, len(text) - OVERLAP)].rsplit(maxsplit=1)
        return f"{words[0] if len(words) > 1 else ''} ..."

    def source(self, line):
        """Return a line of source code without literals that look like a secret."""
        return self._short_source(line) if len(line) < 256 else self.text(line)

    def _redact(self, text, source=False):
        text = self._without_own(text)
        if _ID_OR_TIME.fullmatch(text):
            return text
        if _HARMLESS.fullmatch(text) and not _SUSPICIOUS.search(text):
            return text
        text = _HEADER_LINE.sub(rf"\1\2{FILTERED}", text)
        text = _REQUEST.sub(self._without_path, text)
        text = _without_tokens(text)
        text = _SCHEME.sub(_without_credential, text)
        text = self._without_literals(text) if source else self._without_values(text)
        text = _QUERY.sub(self._without_query, text)
        if len(text) >= 64:
            text = _DENSE.sub(_without_dense, text)
        text = _CARD.sub(_without_card, text)
        return _IPV6.sub(_without_ipv6, text) if text.count(":") > 1 else text

    def _without_own(self, text):
        for expression in self.own:
            text = expression.sub(FILTERED, text)
        return text

    def _without_values(self, text, no_secret=_NO_SECRET):
        """Replace what follows `password=`, `"token": ` and the like."""
        kept = []
        start = position = 0
        while name := _NAME.search(text, position):
            position = name.end()
            if not self.is_sensitive(name["name"]):
                continue
            found = _VALUE.match(text, position)
            if not found or no_secret.fullmatch(found[0]):
                continue
            # A value in quotes keeps them, so that the text around stays readable.
            opening = found["triple"] or found["escaped"]
            opening = opening or re.match(r"[bfru]{0,2}(?:\"\"|[\"'])|", found[0])[0]
            mark = "" if found["escaped"] else opening.lstrip("bfru")
            closed = found[0][len(opening) :].endswith(mark)
            kept += [text[start:position], opening, FILTERED, mark if closed else ""]
            start = position = found.end()
        return "".join([*kept, text[start:]])

    def _without_literals(self, line):
        """Replace the literals after a sensitive name, and what is secret in others."""
        kept = []
        # A name, or a text, that a value may follow; whether this value, or one before
        # it, has a sensitive name; the token before, and its kind.
        name = last = last_kind = ""
        named = secret = False
        for token in _PYTHON.finditer(line):
            text = token[0]
            kind = token.lastgroup
            if kind == "string":
                opening, _, content, closing = _LITERAL.fullmatch(text).groups()
                pair = last == "," and self.is_sensitive(name)
                if _NO_SECRET.fullmatch(text) or self._is_name(content, last):
                    pass
                elif secret or pair:
                    content = FILTERED
                else:
                    content = self._without_values(content, _EXPRESSION)
                text, name = f"{opening}{content}{closing}", content
            elif kind == "number" and named and last in ("=", ":", "!=", "=="):
                text = FILTERED
            elif kind == "comment":
                text = self._without_values(text)
            elif kind == "name":
                # Of an attribute, what is left of the dot says nothing.
                name = text.rpartition(".")[2]
            elif kind == "mark":
                named = self.is_sensitive(name)
                secret = secret or named
            elif kind != "space" and text not in "],":
                name = ""
            kept.append(text)
            if text == "[" and (last_kind == "name" or last in ("]", ")")):
                text = "index"
            if kind != "space":
                last, last_kind = text, kind
        return "".join(kept)

    def _is_name(self, text, before):
        """Whether a literal is the name of a secret, or an index."""
        return before == "index" or (
            re.fullmatch(r"[A-Za-z_.-]{1,64}", text) and self.is_sensitive(text)
        )

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
        statement = self._without_own(statement)
        shape = _SQL_LITERALS.sub(_without_literal, statement)[:MAX_LENGTH]
        # Not `text`: without literals, `"password" = ` is a name and no value follows.
        return _without_tokens(shape)


def without_quoted(message):
    """Return the message of a database, in any language, without the values it quotes."""
    return _QUOTED_BY_DATABASE.sub(lambda match: match["kept"] or FILTERED, message)


def plain_path(path):
    if "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return "/".join(
        part if _PLAIN_SEGMENT.fullmatch(part) else FILTERED for part in path.split("/")
    )


def bounded(secret):
    """Return a pattern of the secret as it stands in texts, URLs, JSON, HTML and Python.

    A short word or number must stand alone, not in another.
    """
    pattern = "".join(map(encoded, secret))
    if len(secret) < 12 and (secret.isalpha() or secret.isdigit()):
        pattern = rf"{_EDGE}{pattern}(?![A-Za-z0-9])"
    return pattern


def encoded(character):
    if character.isascii() and character.isalnum():
        return character
    forms = {
        character,
        repr(character)[1:-1],
        repr(character.encode(errors="replace"))[2:-1],
        json.dumps(character)[1:-1],
        html.escape(character),
        "+" if character == " " else character,
        rf"\u{ord(character):04X}",
    }
    percent = (f"%(?:25)?{byte:02x}" for byte in character.encode(errors="replace"))
    escaped = "|".join(map(re.escape, sorted(forms, key=len)[::-1]))
    return rf"(?i:\\{{0,3}}(?:{escaped}|{''.join(percent)}))"


_compiled = cache(re.compile)


def _without_tokens(text):
    for needle, pattern, flags, replacement in _SUBSTITUTIONS:
        if needle in text:
            text = _compiled(pattern, flags).sub(replacement, text)
    return _LONG.sub(_without_token, text) if len(text) >= 64 else text


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
    word = re.fullmatch(
        r"(?:[A-Za-z][a-z]*(?:-[a-z]+)*|[A-Z]{2,6})[.:]*|v?[\d.]{1,6}|sha\d{3}:.*",
        credential,
    )
    certain = scheme.lower() == "bearer" and scheme[0] == "B"
    return match[0] if word and not certain else f"{scheme} {FILTERED}"


def _without_token(match):
    text = match[0]
    if not re.search(r"[A-Za-z0-9]", text):
        return text  # A line drawn across the page.
    if "/" not in text:
        return TOKEN
    # Of a path, the tokens in it; but a token in base64 has slashes, too.
    parts = text.split("/")
    kept = [part for part in parts if len(part) < 24 or not is_dense(part, 0.3)]
    if is_dense("/".join(kept)):
        return TOKEN
    return "/".join(
        part if part in kept and len(part) < 64 else TOKEN for part in parts
    )


def _without_dense(match):
    return TOKEN if is_dense(match[0]) else match[0]


def is_dense(text, most=0.36):
    """Whether it has letters, digits and marks in no order, unlike a path or address.

    0.36 is between them: of 13,000 addresses and paths in Python's and its packages'
    sources 1 % have more pieces; of random keys of 64 characters less than 1 % fewer.
    """
    if not re.search(r"\d", text) or not re.search(r"[A-Za-z]", text):
        return False
    return len(_PIECE.findall(text)) > most * len(text)


def _without_card(match):
    digits = [int(digit) for digit in match[0] if digit.isdigit()]
    if len(digits) not in _CARD_LENGTHS.get(match[0][0], range(16, 20)):
        return match[0]
    # https://en.wikipedia.org/wiki/Luhn_algorithm
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return match[0] if (sum(digits[::-2]) + sum(doubled)) % 10 else "[REDACTED_CARD]"


def _without_ipv6(match):
    # A colon alone at an end is none of the address: `from ::1:`.
    before, text, after = re.fullmatch(r"(:(?!:))?(.*?)((?<!:):)?", match[0]).groups("")
    if text.count(":") < 2 or not re.search(r"(?=.*\d).*[0-9A-Fa-f]{3}", text):
        return match[0]  # A time.
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return match[0]
    return f"{before}[REDACTED_IP]{after}"
