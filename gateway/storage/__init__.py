"""Where bytes are kept for a while: in this process or in Redis."""
