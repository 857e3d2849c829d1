"""MQTT: the mirror of received messages, and project state."""
