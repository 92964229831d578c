"""What is known of the REST API: its routes."""
