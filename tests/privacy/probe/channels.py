"""The table of channels: every way on which a secret could reach Sentry."""

from collections.abc import Callable
from dataclasses import dataclass

# Who brought the text to Sentry's attention: the SDK, unasked, or the developer, who
# wrote it into a message, a tag or a name. A filter can drop what is collected
# automatically; in what a developer wrote it can only look for what it recognises.
AUTOMATIC = "automatic"
DEVELOPER = "developer"


@dataclass(frozen=True)
class Channel:
    """One way out.

    topic: the row of docs/privacy.md that tells what becomes of it.
    plant: called with the secret. In `client.CHANNELS` it also gets the `Request` to
        change; in `code.CHANNELS` it is run within a view.
    digits: the secret is a number, as text.
    """

    topic: str
    name: str
    kind: str
    plant: Callable
    request: str = ""
    digits: bool = False


def table(channel, *topics):
    """Return the channels of `(topic, kind, {name: plant})` rows."""
    return [
        channel(topic, name, kind, plant)
        for topic, kind, plants in topics
        for name, plant in plants.items()
    ]


def all_channels():
    from . import client, code, process

    channels = [*client.CHANNELS, *code.CHANNELS, *process.CHANNELS]
    names = [channel.name for channel in channels]
    assert len(names) == len(set(names)), "a name must be unique: it seeds the secret"
    return channels
