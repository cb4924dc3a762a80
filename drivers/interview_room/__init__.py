"""Interview-room recorders: long sessions from fixed cameras and microphones, as files or as a live stream."""
