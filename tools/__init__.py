"""What the repository needs and the installed package does not."""
