"""WHEN: sensors and schedules; thin shells over rules in domains/."""
