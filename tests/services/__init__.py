"""Rules of services, without their databases."""
