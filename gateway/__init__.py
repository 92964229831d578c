"""A GraphQL gateway over the Algoreg Go!Chat REST API."""

__version__ = "0.1.0"
