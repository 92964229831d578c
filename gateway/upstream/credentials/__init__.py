"""How a REST call is authenticated without locking the account."""
