"""The REST API itself: its routes, accounts, request bodies, stored data and endpoints."""
