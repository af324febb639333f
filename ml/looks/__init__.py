"""Looks at held-out data, counted: each is recorded, and what is claimed after many of them is deflated by their number."""
