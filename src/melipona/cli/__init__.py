"""`mel`: the command line. A client of the API; it never imports the daemon at start."""
