"""The store: one writer, group commit, readers, schema, migrations and the append-only events."""
