"""`python -m tinynet.cli` is the `tinynet` command of this Python."""

from tinynet.cli import main

if __name__ == "__main__":
    main()
