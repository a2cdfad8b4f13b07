"""Channels that the process itself brings: planted when it starts."""

from .channels import AUTOMATIC, Channel

ENVIRON = {
    "PROBE_COLOUR": "environment: ordinary name",
    "PROBE_API_KEY": "environment: api key",
    "SMTP_PASSWORD": "environment: password",
    "AWS_SECRET_ACCESS_KEY": "environment: secret access key",
    "HOSTNAME": "environment: HOSTNAME",
    "SUDO_USER": "environment: user",
    "K_SERVICE": "environment: service",
}
ARGUMENT = "argument of the command line"
HOST_NAME = "host name"
SETTINGS = {
    "PROBE_SETTING": "setting: ordinary name",
    "EMAIL_HOST_PASSWORD": "setting: password of the mail server",
    "PROBE_STRIPE_SECRET": "setting: secret key of a service",
}
USER = {
    "email": "account: e-mail",
    "first_name": "account: first name",
    "last_name": "account: last name",
    "password": "account: password hash",
}
SESSION = "session: value"
ADDRESS = "127.99.88.77"  # of the client

CHANNELS = [
    *(Channel("process", name, AUTOMATIC, None) for name in ENVIRON.values()),
    Channel("process", ARGUMENT, AUTOMATIC, None),
    Channel("process", HOST_NAME, AUTOMATIC, None),
    *(Channel("process", name, AUTOMATIC, None) for name in SETTINGS.values()),
    *(Channel("user", name, AUTOMATIC, None) for name in USER.values()),
    Channel("request", SESSION, AUTOMATIC, None),
]
