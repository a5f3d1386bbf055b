"""What may make a truth score an artefact of its data."""
