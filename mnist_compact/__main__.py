from mnist_compact.app import main

main()
