"""Filled in below."""

FOUND_BY: dict[str, int] = {}
