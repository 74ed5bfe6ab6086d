"""What the sequence 1 2 2 3 3 3 ... tells of a network: how far it counts, and with which units."""
