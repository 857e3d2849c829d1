"""Documents: pure extraction of files to pages, and of pages to chunks."""
