from django.urls import include, path, re_path, register_converter

from . import views


class Reversed:
    """A converter whose value is not the text in the URL."""

    regex = "[^/]+"

    def to_python(self, value):
        return value[::-1]

    def to_url(self, value):
        return value[::-1]


register_converter(Reversed, "reversed")

urlpatterns = [
    path("probe/login/<form>/", views.log_in),
    path("probe/fail/", views.fail),
    path("probe/fail-async/", views.fail_async),
    path("probe/upstream/", views.upstream),
    path("probe/code/<form>/", views.code),
    path("probe/kept/", views.kept),
    path("probe/flush/", views.flush),
    path("probe/token/<token>/", views.fail),
    re_path(r"^probe/unnamed/([^/]+)/$", views.fail),
    path("probe/converted/<reversed:secret>/", views.fail),
    path("probe/tail/<path:session>/", views.fail),
    path("probe/item/<item>/", views.fail),
    path("probe/gone/<token>/", views.gone),
    path("probe/forbidden/<token>/", views.forbidden),
    path("probe/slow/<token>/", views.slow),
    path("probe/<api_key>/", include([path("included/", views.fail)])),
]
