"""Uploads: requests in multipart/form-data, by the GraphQL multipart request specification."""
