"""What the API answers: declared once, for the gateway that answers and the client that reads."""
