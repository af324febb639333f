"""Side-by-side measurements: ours, a floor and the peers in one run. `python -m bench` runs them all; see README.md."""
