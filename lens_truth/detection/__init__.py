"""Kept probes at work: is this answer, this token supported, before or while it is written?"""
