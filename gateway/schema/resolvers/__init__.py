"""How a field gets its value: links, dataloaders, records, pagination and the operation's context."""
