"""Drift as a bet that adds up over quarters of days: an alarm that is false with a bounded chance, however often one looks."""
