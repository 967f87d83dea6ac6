from mnist_compact.cli.train import main

main()
