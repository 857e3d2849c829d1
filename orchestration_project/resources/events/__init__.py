"""Webhook deliveries: loaded, counted, removed by age, and routed."""
