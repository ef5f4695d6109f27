"""How Alembic gets its connection: from `about migrate`, or for itself from the configuration."""

from alembic import context

from about import people
from about.config import load_config


def run(connection):
    context.configure(connection=connection, target_metadata=people.metadata)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with people.connect(load_config()).connect() as own:
        run(own)
