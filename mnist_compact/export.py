"""Entry point of `python -m mnist_compact.export`; the command is in `mnist_compact.cli.export`."""

from mnist_compact.cli.export import main

if __name__ == "__main__":
    main()
