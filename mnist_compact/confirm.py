"""Entry point of `python -m mnist_compact.confirm`; the command is in `mnist_compact.cli.confirm`."""

from mnist_compact.cli.confirm import main

if __name__ == "__main__":
    main()
