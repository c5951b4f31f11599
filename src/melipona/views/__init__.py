"""How rows look to a person: the shapes of the API, of `mel --json`, and of what `mel` reads when no daemon runs.

One place, so that the three never differ. Functions take a connection and return plain dictionaries; nothing here
changes anything. The field names are promises to scripts (D-37, D-38).
"""
