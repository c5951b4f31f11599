"""What schemathesis loads before it runs: no request waits longer than a moment for mail."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A wait of a minute is as good as one of a tenth of a second; what is no number stays as it is."""
    del context, kwargs
    query = case.query or {}
    try:
        long = float(query.get("wait", 0)) > 0.1
    except (TypeError, ValueError):
        return
    if long and float(query["wait"]) <= 60:
        query["wait"] = 0.1
