"""Commands that are no run; each is thin and ends in a resource or a rule."""
