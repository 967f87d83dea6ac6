"""Numbers with nouns in messages."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return the number with its noun in the singular or plural.

    Example:
        >>> counted(1, "epoch"), counted(1200, "image")
        ('1 epoch', '1,200 images')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
