"""From a normalised mammogram to findings: rate, pick candidates, group them, state the result.

``candidates``
    Local maxima of the likelihood.
``clusters``
    Candidates that lie close together.
``stages``
    The two in order, with the numbers of a model.
``result``
    The result for one image, and its JSON.
"""
