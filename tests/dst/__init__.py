"""Deterministic simulation: the stages' own code in worlds drawn from a seed, over models of what is outside of them."""
