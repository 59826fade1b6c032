"""How images are compared."""
