"""The `quantstream` command."""
