"""Campaigns that break Melipona on purpose and check what it promised: `python -m bench.faults NAME --seed N`.

A campaign is a module of this package; `campaign.py` says what it offers, `checker.py` looks at what is left behind.
"""
