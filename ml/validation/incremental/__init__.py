"""What was checked before is not read again: which months a check depends on, what it found, and what to read anew."""
