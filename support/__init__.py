"""What every command needs and no learner has to read: command line, files, drawing, devices."""
