"""Rules of alerts: which are raised, who gets them, and their texts."""
