"""Tables of FINRA: weekly trading, further datasets, and what is derived of them."""
