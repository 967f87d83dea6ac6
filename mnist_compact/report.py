"""Entry point of `python -m mnist_compact.report`; the command is in `mnist_compact.cli.report`."""

from mnist_compact.cli.report import main

if __name__ == "__main__":
    main()
