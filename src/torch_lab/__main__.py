"""`python -m torch_lab VERB`."""

from torch_lab.cli.main import main

if __name__ == "__main__":
    main()
