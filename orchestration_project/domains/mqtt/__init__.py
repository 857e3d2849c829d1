"""MQTT events: envelope, kinds, and the state of projects that is folded from them."""
