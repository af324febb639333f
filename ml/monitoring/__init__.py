"""Models that serve, watched: scores held against what came, drift, and what follows: a way back, or a new training."""
