from django.conf import settings


def project(request):
    """Give every template the `project_name`."""
    return {"project_name": settings.PROJECT_NAME}
