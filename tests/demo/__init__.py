"""The demo source, shown from outside: a real process, real HTTP."""
