"""From a normalised mammogram to findings: rate, pick candidates, group, report.

- ``model`` a folder with two networks and the numbers that belong to them
- ``scorer`` the pair of networks, the only user of the run-time engine
- ``log_filter`` the floor to beat: a Laplacian of Gaussian, no training
- ``candidates`` local maxima of the likelihood
- ``clusters`` candidates that lie together
- ``findings`` clusters at an operating point
- ``report`` the detections document (JSON)
- ``overlay`` the picture for a person
- ``mammogram`` the steps in order, for one mammogram
"""
