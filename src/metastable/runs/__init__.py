"""Who calls whom: a study, a sweep, a comparison, a calibration from beginning to end."""
