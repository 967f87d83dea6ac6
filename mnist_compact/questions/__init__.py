"""What is asked: the space, the settings, the files; frozen when a study begins, and compared when it goes on."""
