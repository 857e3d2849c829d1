"""FX: reference rates of the European Central Bank."""
