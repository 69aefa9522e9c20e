"""The distribution's version."""


def version() -> str:
    """Give the installed version, or `unknown` for a copied folder."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("imghost")
    except (PackageNotFoundError, OSError):
        return "unknown"
