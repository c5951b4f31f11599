"""How each life of a daemon ended, and what checks of the database's integrity found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Ends of earlier lives are not known; those that have not ended are accounted for by the next start."""
    op.add_column("epochs", sa.Column("ended_why", sa.Text(), nullable=True))
    op.create_table(
        "integrity_checks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integrity_checks")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index(
        "ix_epochs_unclean",
        "epochs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("ended_why = 'unclean'"),
        postgresql_where=sa.text("ended_why = 'unclean'"),
    )
