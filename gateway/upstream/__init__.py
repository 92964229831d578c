"""The client of the Go!Chat REST API, and the layers that a call passes through."""
