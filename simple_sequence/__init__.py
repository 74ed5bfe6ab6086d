"""The data: a sequence that can be predicted only by counting."""
