"""Assets of events: the deliveries that are loaded, and their routing."""
