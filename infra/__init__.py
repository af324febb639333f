"""What runs QuantStream: the embedded stack on one machine, images, and the cluster."""
