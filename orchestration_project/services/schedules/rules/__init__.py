"""Rules of schedules: fields, due times, and the load that they make."""
