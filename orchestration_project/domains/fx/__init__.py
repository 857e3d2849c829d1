"""Euro reference rates: their calendar, documents and contract, and the rules of evidence."""
