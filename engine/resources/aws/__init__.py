"""Kinds of AWS services that one file is enough for, and what all kinds at AWS share."""
