"""The entry point of gunicorn: ``gunicorn about.wsgi:app``."""

from about import logs
from about.app import create_app

logs.configure()
app = create_app()
