"""The layers of a REST call, from coalescing down to the socket."""
