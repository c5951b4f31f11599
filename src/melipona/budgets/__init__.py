"""Budgets: limits of money and turns; what model calls cost."""
