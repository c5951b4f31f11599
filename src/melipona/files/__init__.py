"""Files that agents name in what they write: one resolver for reading them and for vouching for them (FR)."""
