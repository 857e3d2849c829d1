"""TOOL: writes the skeleton of a source of documents over HTTP. Nothing else imports it."""
