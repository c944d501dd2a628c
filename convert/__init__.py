"""KnockKnock Edge, workstation side: train, export, verify and grade the networks ``edge`` runs.

``convert`` imports from ``edge``, never the other way round. Training pictures, calibration
pictures and parity figures all come from the same front end and classifier as the device uses.
"""
