"""Lets ``python -m microcalc`` be the command."""

from microcalc.cli import main

if __name__ == "__main__":
    main()
