"""Rules for who may do what at the gateway: keys, sessions, roles, refusals."""
