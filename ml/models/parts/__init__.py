"""What the four models are made of: lines, trees, networks and forests, each saved as plain arrays."""
