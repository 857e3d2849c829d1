"""Outside systems of any kind: HTTP, folders, object stores, demo programs, the clock."""
