"""`python -m taxonet`, which launchers such as ``torchrun -m taxonet`` need."""

from taxonet.cli import main

if __name__ == "__main__":
    main()
