"""The reports: of a run, a comparison, a sweep and a calibration, each in a room with sentences, plates and a page."""
