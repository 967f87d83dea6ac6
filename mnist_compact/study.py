"""Entry point of `python -m mnist_compact.study`; the command is in `mnist_compact.cli.study`."""

from mnist_compact.cli.study import main

if __name__ == "__main__":
    main()
