"""The studies: one short file each, which defines ``STUDY``."""
