"""The entry point of gunicorn: ``gunicorn about.wsgi:app``."""

from about.app import create_app

app = create_app()
