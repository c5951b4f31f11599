"""Fuzz targets for what reads a box's bytes: `python -m tests.security.fuzz frames|bodies --seconds 60 --seed N`.

A finding is printed as a command that plays it again; when it is mended, it becomes a row of an ordinary test.
"""
