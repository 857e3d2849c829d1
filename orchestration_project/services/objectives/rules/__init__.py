"""Rules of objectives: error budgets, burn rates, and Prometheus' rules of them."""
