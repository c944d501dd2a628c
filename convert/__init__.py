"""KnockKnock Edge, workstation side: train, export, prove and grade the networks ``edge`` runs.

``convert`` imports from ``edge``, never the other way round: training pictures, calibration
pictures and parity figures all come from the very front end and classifier the device uses.
"""
