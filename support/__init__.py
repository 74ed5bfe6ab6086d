"""What every command needs and learners can skip: command line, files, drawing, devices."""
