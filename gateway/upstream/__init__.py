"""The REST side: how one call reaches the Go!Chat REST API, and what becomes of its answer."""
