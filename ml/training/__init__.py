"""Training of the four models: from the lake to a judged, registered and perhaps promoted version."""
