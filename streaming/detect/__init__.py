"""The stage that judges every trade."""
