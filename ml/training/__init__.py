"""From the lake to a judged, registered version."""
