"""The user's own data: sequence files and vocabularies."""
