"""Entry point of `python -m mnist_compact.evaluate`; the command is in `mnist_compact.cli.evaluate`."""

from mnist_compact.cli.evaluate import main

if __name__ == "__main__":
    main()
