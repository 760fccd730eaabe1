"""A replica group: one model over the devices of its host, behind one Ray Serve replica."""
