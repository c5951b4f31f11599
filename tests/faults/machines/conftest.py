"""The profiles `ci`, `nightly` and `release`."""

from __future__ import annotations

from . import profiles

profiles.register()
