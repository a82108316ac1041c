"""How livetwin is put to run: command line, local services, settings, demo feeds."""

__version__ = "0.1.0"
