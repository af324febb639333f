"""Measurements of what grows with the history: features and trainings over years and many symbols."""
