"""GraphQL documents: parsed, validated, limited, trusted and persisted."""
