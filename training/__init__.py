"""What a training is made of beside computing: options, data, report, optimizer, processes."""
