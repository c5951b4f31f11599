"""The gate: the one application that a box sees. Tools, model calls, and not one route of the operator's."""
