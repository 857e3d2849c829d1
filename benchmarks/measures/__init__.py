"""What is compared with what: a module by theme, each with functions that return lines."""
