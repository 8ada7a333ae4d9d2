"""What happened to a model on the road: which answers it gave, what proved to be true, and who says so."""
