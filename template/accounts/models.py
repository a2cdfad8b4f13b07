from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """The project's own user model, there from day one because it cannot be swapped in
    later: https://docs.djangoproject.com/en/stable/topics/auth/customizing/"""
