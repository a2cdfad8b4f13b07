"""The ASGI application, as `config.asgi:application`: for uvicorn and its like."""

import os
import sys

from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

try:
    application = get_asgi_application()
except ImproperlyConfigured as error:
    sys.exit(f"config.asgi: {error}")
