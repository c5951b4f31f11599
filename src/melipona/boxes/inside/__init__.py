"""Files that are shown inside boxes: programs of one file each, on the standard library alone."""
