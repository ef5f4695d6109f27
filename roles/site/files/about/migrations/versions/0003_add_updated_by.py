"""Record who changed a person last."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    # With a default, so that older code can still add people.
    column = sa.Column("updated_by", sa.String(255), nullable=False, server_default="")
    op.add_column("people", column)


def downgrade():
    op.drop_column("people", "updated_by")
