"""Names that TensorBoard and MLflow give to the columns of an epoch."""


def tag_of(column: str) -> str | None:
    """Return the tag of a column, such as `loss/test_averaged`; None for counts of images and the epoch itself."""
    for measure in ("calibrated_loss", "loss", "accuracy"):
        if column.endswith(f"_{measure}"):
            return f"{measure}/{column.removesuffix(f'_{measure}')}"
    return column if column in ("learning_rate", "seconds") else None
