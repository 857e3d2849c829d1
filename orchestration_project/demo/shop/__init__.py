"""A synthetic shop on 127.0.0.1: lists, products, robots.txt, and a change of its layout."""
