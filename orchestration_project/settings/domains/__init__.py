"""A module for each domain with its settings, which `settings.settings_class` finds here."""
