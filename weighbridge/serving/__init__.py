"""A package on the road: a front that speaks HTTP and never loads a graph, and worker processes that answer for it."""
