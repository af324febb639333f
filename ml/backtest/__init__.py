"""What acting on scores would have earned: fills by stated rules, costs of one's own, a ledger of every trade, its figures."""
