"""Schedules as data: stored and edited, judged by their jobs, and launched when they are due."""
