"""What a project may loosen or tighten: the setting `SENTRY_REDACTION`."""

import re
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Policy:
    """How much may leave. docs/privacy.md explains each field.

    sensitive_names: names whose values are dropped, besides `password`, `token`, ...
    patterns: regular expressions of text that is dropped.
    allowed_headers: request headers that are sent.
    allowed_query_params: query parameters whose values are sent.
    strict: drop all free text (messages, log lines, tags, extras), keep the structure.
    source_context: send the lines of source code around each frame.
    """

    sensitive_names: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()
    allowed_headers: frozenset[str] = frozenset({"content-length", "content-type"})
    allowed_query_params: frozenset[str] = frozenset()
    strict: bool = False
    source_context: bool = True

    @classmethod
    def from_settings(cls, values):
        """Return the policy of a dictionary of fields.

        Raises ValueError naming a field that is unknown or has the wrong type.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown name {sorted(unknown)[0]!r}.")
        converted = {}
        for name, value in values.items():
            if isinstance(getattr(cls, name), bool):
                if not isinstance(value, bool):
                    raise ValueError(f"{name} takes True or False.")
            elif isinstance(value, str) or not all(isinstance(v, str) for v in value):
                raise ValueError(f"{name} takes a list of strings.")
            elif name == "patterns":
                value = tuple(value)
            else:
                value = frozenset(item.lower() for item in value)
            converted[name] = value
        for pattern in converted.get("patterns", ()):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"pattern {pattern!r}: {error}.") from None
        return cls(**converted)
