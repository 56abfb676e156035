"""`python -m iteralign` is `iteralign`, for where the command is not on the path."""

from iteralign.cli import main

if __name__ == "__main__":
    main()
