"""The main job from end to end on one machine: synthetic logs, two model versions, a live roll-out and a roll-back."""
