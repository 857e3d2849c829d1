"""Events: webhook deliveries as rows, and the routing rules that lead from them to actions."""
