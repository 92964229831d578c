"""Runs the application: one process or several, on uvicorn."""
