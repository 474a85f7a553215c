"""The workshop: what a lecture does at the blackboard, as records for the page."""
