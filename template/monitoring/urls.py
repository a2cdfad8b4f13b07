"""Included by config/urls.py while DEBUG is on, below /api/v1/debug/."""

from django.urls import path

from . import views

app_name = "monitoring"
urlpatterns = [
    path("", views.index, name="index"),
    path("sentry-test/", views.sentry_test, name="sentry-test"),
]
