"""Programs for the maintenance of the repository, which are not part of the installed package."""
