"""Stateful tests, one machine a noun, and the bugs that they must find (SECURITY.md section 6.4)."""
