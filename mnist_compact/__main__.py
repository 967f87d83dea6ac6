"""Entry point of `python -m mnist_compact`; the command is in `mnist_compact.cli.train`."""

from mnist_compact.cli.train import main

if __name__ == "__main__":
    main()
