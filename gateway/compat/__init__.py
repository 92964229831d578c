"""Every use of a library's private name, one module per library, each with its reason."""
