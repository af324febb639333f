"""Which version serves, and why: the gate for new ones, moves of the registry's aliases, and the record of every decision."""
