"""The page for errors that nobody caught."""

from django.http import HttpResponseServerError
from django.template import loader


def server_error(request):
    """Show 500.html with a reference to quote: the id of the request."""
    page = loader.get_template("500.html")
    return HttpResponseServerError(
        page.render({"reference": getattr(request, "id", None)})
    )
