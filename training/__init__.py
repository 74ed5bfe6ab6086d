"""A training apart from the network: options, data, report, optimizer, processes."""
