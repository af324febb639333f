"""Which version serves, and why: the rules of promotion, moves of the registry's aliases, and the record of every decision."""
