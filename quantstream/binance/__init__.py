"""All that knows the exchange: its bytes, its REST side, its streams, its limits and its clock."""
