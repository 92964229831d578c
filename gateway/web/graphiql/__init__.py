"""GraphiQL: the page, its files, and how they are built."""
