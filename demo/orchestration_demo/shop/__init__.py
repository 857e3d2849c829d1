"""A synthetic shop on 127.0.0.1: lists, products, robots.txt, an API, a change of layout."""
