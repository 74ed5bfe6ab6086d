"""The arithmetic of a whole window, as differentiable functions."""
