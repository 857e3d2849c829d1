"""An MQTT broker on 127.0.0.1, and a publisher of synthetic project events with faults."""
