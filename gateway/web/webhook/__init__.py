"""The webhook: how the vendor tells the gateway that something changed."""
