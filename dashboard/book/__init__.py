"""The user's positions as the page shows them: what they may lose by the next hour and day."""
