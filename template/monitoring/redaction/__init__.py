"""Keeps secrets from leaving the process.

policy.py     what a project may loosen or tighten
secrets.py    the secrets this process knows
patterns.py   what a credential looks like in text
rules.py      what each kind of envelope item may carry
transport.py  the one place everything passes on its way to Sentry
"""
