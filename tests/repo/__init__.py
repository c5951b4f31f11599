"""Tests about the repository itself: what is tracked, what the documents say, how a clone sets itself up."""
