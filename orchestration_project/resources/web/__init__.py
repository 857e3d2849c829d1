"""Web: site files, polite requests, crawls and items of sites."""
