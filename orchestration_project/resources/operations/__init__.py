"""The installation itself: its backups, and the hosts that run its programs."""
