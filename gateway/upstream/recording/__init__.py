"""Records exchanges with the REST API in files, with nothing in them that anybody wrote."""

from gateway.upstream.recording.recorder import Recorder, Recording, require_unused

__all__ = ["Recorder", "Recording", "require_unused"]
