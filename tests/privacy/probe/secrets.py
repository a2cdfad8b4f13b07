"""Unique secrets, of which each part can be found again."""

import hashlib
import random
import re
import string

# short       12 characters: nothing tells them from a word
# long        72 characters
# credential  what a known vendor or format makes of it
# own         12 characters, and also in a variable with a sensitive name
FORMS = ("short", "long", "credential", "own")

LETTERS = string.ascii_lowercase + string.digits
PART = re.compile(rb"(?=(q7[a-z0-9]{9}z))", re.I)
DIGITS_PART = re.compile(rb"(?=(907[0-9]{9}))")


def parts(name, form, digits=False):
    """Return the six parts, 12 characters each, that belong to a channel and a form."""
    seed = int(hashlib.sha256(f"{form} {name}".encode()).hexdigest(), 16)
    generator = random.Random(seed)
    if digits:
        return [
            "907" + "".join(generator.choices(string.digits, k=9)) for _ in "123456"
        ]
    return ["q7" + "".join(generator.choices(LETTERS, k=9)) + "z" for _ in "123456"]


def secret(name, form, digits=False):
    part = parts(name, form, digits)
    if form == "long":
        return "".join(part)
    if form != "credential":
        return part[0]
    if digits:
        return with_check_digit(f"4{part[0]}00")  # a card number
    kinds = CREDENTIALS
    return kinds[int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(kinds)](*part)


CREDENTIALS = (
    lambda a, b, *_: f"sk_live_{a}{b}",
    lambda a, b, c, *_: f"ghp_{a}{b}{c}",
    lambda a, b, *_: f"github_pat_{a}_{b}",
    lambda a, b, *_: f"glpat-{a}{b}",
    lambda a, b, *_: f"xoxb-{a}-{b}",
    lambda a, *_: f"AKIA{a.upper()}ABCD",
    lambda a, b, c, *_: f"AIza{a}{b}{c}"[:39],
    lambda a, b, *_: f"SG.{a}{b}.{b}{a}",
    lambda a, b, c, *_: f"eyJ{a}.eyJ{b}.{c}",
    lambda a, b, *_: f"postgres://{a}:{b}@localhost/shop",
    lambda a, *_: f"{a}@example.com",
    lambda a, *_: f"password={a}",
    lambda a, b, *_: f"npm_{a}{b}",
    lambda a, b, *_: f"pypi-{a}{b}",
    lambda a, b, *_: f"hvs.{a}{b}",
    lambda a, b, *_: f"whsec_{a}{b}",
)


def with_check_digit(digits):
    """https://en.wikipedia.org/wiki/Luhn_algorithm"""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[::-2]]
    return digits + str(-sum([*doubled, *map(int, digits[-2::-2])]) % 10)
