"""Rules for daily prices: what a source's answer says, whose spelling is whose, which symbols."""
