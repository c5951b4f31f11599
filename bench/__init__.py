"""What Melipona costs, measured beside what it cannot cost less than: `python -m bench`.

One benchmark a module. Each has contenders: `ours`, the floors below it (the same work without the product) and, when
asked for, peers. They run interleaved, round by round, and only ratios inside a round are compared: absolute times of
one machine say little. Goals stand in `goals.toml`; docs/performance.md explains them.
"""
