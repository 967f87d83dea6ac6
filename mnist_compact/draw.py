"""Entry point of `python -m mnist_compact.draw`; the command is in `mnist_compact.cli.draw`."""

from mnist_compact.cli.draw import main

if __name__ == "__main__":
    main()
