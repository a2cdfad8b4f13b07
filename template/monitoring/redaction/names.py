"""Which names promise a secret value."""

import re
from functools import lru_cache
from itertools import pairwise

# A name is sensitive if one of its words is among these ...
WORDS = {
    "auth", "authorization", "bearer", "cookie", "cred", "credential", "credit", "csrf",
    "cvc", "cvv", "dsn", "hmac", "iban", "jwt", "mfa", "otp", "pass", "passcode",
    "passphrase", "passwd", "password", "pin", "pw", "pwd", "secret", "session", "sid",
    "signature", "ssn", "token", "totp", "xsrf",
}  # fmt: skip
# ... or is a key, alone or of one of these kinds: not a cache key or a sort key ...
KEY_KINDS = {
    "access", "account", "api", "app", "auth", "cipher", "client", "consumer", "crypto",
    "encryption", "fernet", "hmac", "license", "master", "private", "publishable",
    "service", "shared", "signing", "ssh", "storage", "stripe", "webhook",
}  # fmt: skip
# ... or ends in one of these, as in `clientsecret` ...
ENDINGS = (
    "credential", "passphrase", "passwd", "password", "dbpass", "userpass", "secret",
    "secretkey", "sessionid", "token", "cardnumber", "accesskeyid",
    *(kind + "key" for kind in KEY_KINDS),
)  # fmt: skip
# ... unless it says how many there are, or of what kind.
_ABOUT = re.compile(
    r".*(?:(?i:[_.-](?:count|length|name|rate|size|type|user))|Count|Name|Type)"
    r"|(?i:max|min|total|prompt|completion|input|output|used)[_.-]?[Tt](?i:okens)"
)

# What redaction itself puts where a part of a name was.
_REPLACED = re.compile(r"REDACTED_[A-Z]+")
_PLURAL = re.compile(r"(?<=[^s])s$")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def is_sensitive(name, extra=frozenset()):
    """Whether the value under `name` must not leave: `password2`, `X-API-Key`, `token`;
    but not `author`, `monkey`, `tokenize` or `max_tokens`."""
    if len(name) > 128:
        return True  # Nobody's name: it cannot be judged.
    return _is_sensitive(name, extra)


@lru_cache(maxsize=4096)
def _is_sensitive(name, extra):
    if _ABOUT.fullmatch(name) and name.lower() not in extra:
        return False
    words = [
        _PLURAL.sub("", word.lower()) for word in _WORD.findall(_REPLACED.sub("", name))
    ]
    if any(word in WORDS or word.endswith(ENDINGS) for word in words):
        return True
    if words == ["key"] or (words[-1:] == ["key"] and not KEY_KINDS.isdisjoint(words)):
        return True
    if any(kind in KEY_KINDS and word == "key" for kind, word in pairwise(words)):
        return True  # `api_key_v2`
    if "".join(words).endswith(ENDINGS):
        return True
    return bool(extra) and (name.lower() in extra or not extra.isdisjoint(words))
