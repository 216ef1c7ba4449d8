"""Tables and figures that the evaluation, the study and the model cards share."""
