"""Add the version of a person, to notice that two people edit the same one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    # With a default, so that older code can still add people.
    column = sa.Column("version", sa.String(16), nullable=False, server_default="")
    op.add_column("people", column)


def downgrade():
    op.drop_column("people", "version")
