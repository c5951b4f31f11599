"""Which account at the provider opened a session: when it logs out there, the session ends here too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Sessions that a provider opened before end: nobody could say which account it was."""
    op.add_column("sessions", sa.Column("provider_subject", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("provider_session", sa.Text(), nullable=True))
    op.create_index("ix_sessions_provider_subject", "sessions", ["provider_subject"])
    op.execute(sa.text("UPDATE sessions SET revoked_at = seen_at WHERE method = 'oidc' AND revoked_at IS NULL"))
