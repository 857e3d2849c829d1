"""Log lines of programs: searched, and sent to a collector."""
