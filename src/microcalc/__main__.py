"""The command ``microcalc``, also as ``python -m microcalc``.

Worker processes import this module again, so the command line itself is imported when it runs.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from microcalc.cli import main as run

    run()


if __name__ == "__main__":
    main()
