"""Entry point of `python -m mnist_compact.predict`; the command is in `mnist_compact.cli.predict`."""

from mnist_compact.cli.predict import main

if __name__ == "__main__":
    main()
